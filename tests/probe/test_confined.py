"""What a loader cannot do while it is watched, shown by one that tries."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ckptdoctor.cli.app import group
from ckptdoctor.probe.loading import _clean
from ckptdoctor.probe.process import Failed, Worker, unchanged
from ckptdoctor.probe.reporting import config_of
from ckptdoctor.probe.workers import confine
from tests.observe.paths import SOUND
from tests.probe.stand import interpreter

TRY = """
import json, os, socket, sys
def attempt(do):
    try:
        return do() and "done" or "done"
    except PermissionError as error:
        return str(error)
    except OSError as error:
        return type(error).__name__
outcome = {
    "straight": attempt(lambda: socket.socket().connect(("192.0.2.1", 443))),
    "connect": attempt(lambda: socket.create_connection(("192.0.2.1", 443), 1)),
    "resolve": attempt(lambda: socket.getaddrinfo("example.org", 443)),
    "loopback": attempt(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
    "environment": sorted(os.environ),
    "home": os.environ["HOME"],
    "path": sys.path,
    "stdin": sys.stdin.read(),
}
raise RuntimeError(json.dumps(outcome))
"""


def test_a_loader_reaches_no_other_machine_and_sees_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "secret")
    worker = Worker(interpreter(tmp_path, TRY), "transformers")
    with pytest.raises(Exception, match="RuntimeError") as caught, worker:
        worker.start(30.0)
    Path(worker.log).unlink()
    did = json.loads(str(caught.value).partition(": ")[2])
    assert "no network" in did["straight"]
    assert "no network" in did["connect"]
    assert "no network" in did["resolve"]
    assert did["loopback"] == "ConnectionRefusedError"
    assert not {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"}.intersection(did["environment"])
    assert did["home"].startswith(worker.scratch)
    assert str(Path(confine.__file__).parent) not in did["path"]
    assert did["stdin"] == ""


@pytest.mark.parametrize(
    "act",
    [
        lambda place: (place / "new").write_text("x"),
        lambda place: (place / "config.json").unlink(),
        lambda place: (place / "config.json").rename(place / "other"),
        lambda place: (place / "folder").mkdir(),
        lambda place: os.truncate(place / "config.json", 0),
    ],
)
def test_nothing_is_written_into_the_checkpoint(tmp_path: Path, act: object) -> None:
    assert callable(act)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    confine.protect(str(tmp_path))
    try:
        with pytest.raises(PermissionError, match="nothing is written"):
            watched(act, tmp_path)
    finally:
        confine.protected.clear()


def watched(act: object, place: Path) -> None:
    """Do something with the audit hook's function called as the interpreter would call it."""
    assert callable(act)
    active = [True]
    sys.addaudithook(lambda event, args: confine.watch(event, args) if active else None)
    try:
        act(place)
    finally:
        active.clear()


def test_a_change_of_the_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x", encoding="utf-8")
    (tmp_path / "gone").write_text("x", encoding="utf-8")
    with unchanged(tmp_path) as changed:
        (tmp_path / "gone").unlink()
        (tmp_path / "below").mkdir()
        (tmp_path / "below" / "new").write_text("x", encoding="utf-8")
    assert set(changed) == {"gone", "below", "below/new"}


def test_what_a_hostile_worker_answers_is_only_data() -> None:
    lies = {
        "stage": 3,
        "exception": "text",
        "never_written": "all",
        "weights_bytes": "1",
        "same": None,
        "extra": [],
    }
    assert _clean(lies) == {"stage": "3"}
    names = _clean({"stage": "done", "never_written": [1, None], "logits_finite": True})
    assert names == {"stage": "done", "never_written": ["1", "None"], "logits_finite": True}


def test_a_hostile_worker_that_answers_without_end_in_depth_is_only_told(tmp_path: Path) -> None:
    code = 'import os, sys; os.write(int(sys.argv[2]), b"[" * 60_000 + b"\\n"); os._exit(0)'
    worker = Worker(interpreter(tmp_path, code), "transformers")
    with pytest.raises(Failed, match="died"), worker:
        worker.start(30.0)
    Path(worker.log).unlink()


def test_a_config_without_end_in_depth_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 200_000, encoding="utf-8")
    assert config_of(tmp_path) == {}


ALONE = ["--plot", "x.svg"]
BESIDE = [["--base", "."], ["--recipe", "new"], ["--stage", "build"], ["--trust-remote-code"]]


@pytest.mark.parametrize(
    "options", [ALONE, *(["--compare", "{}", *more] for more in BESIDE), ["--recipe", "{}"]]
)
def test_options_that_do_not_go_together_are_refused_before_anything_runs(options: list[str]) -> None:
    sound = str(SOUND / "llama-bf16")
    given = [option.format(sound) for option in options]
    done = CliRunner().invoke(group, ["load", sound, "--python", sys.executable, *given])
    assert done.exit_code == 2
    assert f"Error: {given[-2] if given[-1] != '--trust-remote-code' else given[-1]} " in done.output


def test_weights_in_pickles_are_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    done = CliRunner().invoke(group, ["load", str(tmp_path)])
    assert done.exit_code == 2
    assert "pickle" in done.output
