"""The command line as a user meets it: exit codes, hints, output files, what is imported, what is never shown."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ckptdoctor._version import __version__
from ckptdoctor.cli import main
from ckptdoctor.cli.exits import exit_code
from ckptdoctor.model import Crash, Skip

from ..conftest import ROOT
from ..support import sample_reports as samples

SOUND = ROOT / "fixtures" / "sound" / "llama-bf16"
NF4 = ROOT / "fixtures" / "sound" / "llama-nf4"
HEAVY = ("rich", "yaml", "jsonschema", "packaging", "importlib.metadata", "huggingface_hub", "numpy", "torch")

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def truncated(tmp_path: Path) -> Path:
    """A checkpoint whose one shard lost its end."""
    broken = tmp_path / "truncated"
    shutil.copytree(SOUND, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return broken


def run(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ckptdoctor", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | env, check=False)


def imported(*args: str) -> set[str]:
    """Return the modules a run has imported when it ends."""
    code = (
        "import sys, json; from ckptdoctor.cli import main; main(sys.argv[1:]); print('\\n@@', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("@@")[2].split())


def test_version_imports_nothing() -> None:
    assert run("--version").stdout == f"ckptdoctor {__version__}\n"
    assert not {"click", "re", "json", "ckptdoctor.model", "ckptdoctor.render"} & (
        imported("--version") - imported_by_json()
    )


def imported_by_json() -> set[str]:
    """What the probe itself imports."""
    code = "import sys, json; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_check_imports_nothing_heavy(form: str) -> None:
    for _ in range(3):  # in a source tree a run compiles the rules when one has changed since the last run
        modules = imported("check", str(SOUND), "--format", form)
        if not modules & set(HEAVY):
            break
    assert "ckptdoctor.engine" in modules
    assert not modules & set(HEAVY)


def test_sound(capsys: Capture) -> None:
    assert main(["check", str(SOUND), "--for", "transformers"]) == 0
    out = capsys.readouterr().out
    assert "✓ transformers" in out
    assert "Sound · " in out


def test_broken(truncated: Path, capsys: Capture) -> None:
    assert main(["check", str(truncated), "--for", "transformers", "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == str(truncated)
    assert [verdict["outcome"] for verdict in report["verdicts"]] == ["fails"]
    assert report["findings"][0]["rule"].startswith("container/")


@pytest.mark.parametrize(("fail_on", "code"), [("error", 1), ("note", 1), ("never", 0)])
def test_fail_on(truncated: Path, fail_on: str, code: int) -> None:
    assert main(["check", str(truncated), "--fail-on", fail_on]) == code


def test_several_give_the_worst(truncated: Path, capsys: Capture) -> None:
    assert main(["check", str(SOUND), str(truncated)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("2 checkpoints\n")
    assert out.index("truncated") < out.index("llama-bf16")


def test_a_directory_of_checkpoints(truncated: Path, capsys: Capture) -> None:
    shutil.copytree(SOUND, truncated.parent / "sound")
    assert main(["check", str(truncated.parent), "--format", "json"]) == 1
    reports = json.loads(capsys.readouterr().out)["reports"]
    assert {Path(report["target"]).name for report in reports} == {"sound", "truncated"}


def test_the_path_is_kept_as_typed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SOUND.parent)
    main(["check", "./llama-bf16/", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["target"] == "./llama-bf16/"


def test_one_file(capsys: Capture) -> None:
    assert main(["check", str(SOUND / "model.safetensors"), "--format", "json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["bytes_read"]["headers"] > 0


def test_nothing_to_check(tmp_path: Path, capsys: Capture) -> None:
    assert main(["check", str(tmp_path)]) == 3
    assert "nothing to check" in capsys.readouterr().out


def test_not_a_checkpoint_file(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert main(["check", str(tmp_path / "notes.txt")]) == 3
    assert "neither a directory nor a .safetensors file" in " ".join(capsys.readouterr().out.split())


def test_a_path_that_does_not_exist(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "Llama-3").mkdir()
    assert main(["check", str(tmp_path / "Lama-3")]) == 2
    err = capsys.readouterr().err
    assert "no such file or directory" in err
    assert f"Did you mean {tmp_path / 'Llama-3'}?" in err


@pytest.mark.parametrize("before", ["", "hf://"])
def test_where_a_hub_id_is_not_read_it_gets_a_hint_and_no_network(before: str, capsys: Capture) -> None:
    assert main(["fix", f"{before}meta-llama/Llama-3.1-8B"]) == 2
    assert "hf download meta-llama/Llama-3.1-8B --local-dir Llama-3.1-8B" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["check", str(SOUND), "--for", "keras"], "keras"),
        (["check", str(SOUND), "--for", "vllm==new"], "expected a version"),
        (["check", str(SOUND), "--select", "bnb/mising-companion"], "Did you mean bnb/missing-companion?"),
        (["check", str(SOUND), "--ignore", "cooking/"], "no such rule or family"),
        (["check", str(SOUND), "--format", "xml"], "xml"),
        (["check", str(SOUND), "--output", "/no/such/dir/report.json"], "no such directory"),
        (["check", str(SOUND), "--fail-on", "panic"], "panic"),
        (["chekc", str(SOUND)], "chekc"),
        ([str(SOUND)], f"ckptdoctor check {SOUND}"),
        (["rules", "bnb/mising-companion"], "Did you mean bnb/missing-companion?"),
        (["explain", "bnb/mising-companion"], "Did you mean bnb/missing-companion?"),
    ],
)
def test_bad_usage(args: list[str], says: str, capsys: Capture) -> None:
    assert main(args) == 2
    assert says in capsys.readouterr().err


def test_select_and_ignore(truncated: Path, capsys: Capture) -> None:
    assert main(["check", str(truncated), "--select", "bnb/", "--fail-on", "note"]) == 0
    assert main(["check", str(truncated), "--ignore", "container,shards/", "--format", "json"]) in (0, 1, 3)
    found = json.loads(capsys.readouterr().out.rpartition("\n{\n")[2].join(["{", ""]))["findings"]
    assert not [finding for finding in found if finding["rule"].startswith("container/")]


def test_output_is_replaced_whole(tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    target.chmod(0o640)
    assert main(["check", str(SOUND), "--for", "vllm", "--format", "json", "--output", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads(target.read_text())["schema"] == 1
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_output_that_cannot_be_written(tmp_path: Path, capsys: Capture) -> None:
    assert main(["check", str(SOUND), "--output", str(tmp_path)]) == 2
    assert "--output" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_metadata_only(tmp_path: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 4000000000\n"
    shutil.copytree(SOUND, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_text(pointer)
    assert main(["check", str(tmp_path / "m")]) == 1
    assert main(["check", str(tmp_path / "m"), "--metadata-only"]) != 1


def test_exit_precedence() -> None:
    sound, broken = samples.sound(), samples.broken()
    crash = sound._replace(crashes=(Crash("a/b", "ValueError"),))
    blind = sound._replace(skips=(Skip("a/b", "blind", "no bytes"),))
    shy = sound._replace(
        skips=(Skip("a/b", "abstained", "remote code"), Skip("a/c", "not-applicable", "no adapter"))
    )
    assert exit_code([sound], ("error",)) == exit_code([shy], ("error",)) == 0
    assert (
        exit_code([crash], ("error",))
        == exit_code([blind], ("error",))
        == exit_code([samples.nothing()], ("error",))
        == 3
    )
    assert exit_code([], ("error",)) == 3
    assert exit_code([crash, broken, sound], ("error",)) == 1
    assert exit_code([blind, sound], ("never",)) == 3
    warning = sound._replace(findings=(samples.activation(),))
    note = sound._replace(findings=(samples.no_format(),))
    assert [exit_code([warning], (word,)) for word in ("error", "warning", "note", "never")] == [0, 1, 1, 0]
    assert [exit_code([note], (word,)) for word in ("error", "warning", "note", "never")] == [0, 0, 1, 0]


def test_an_unknown_verdict_fails_where_it_is_asked_for() -> None:
    unknown = samples.sound().verdicts[0]._replace(outcome="unknown")
    requested = samples.sound()._replace(
        verdicts=(unknown._replace(target=unknown.target._replace(origin="requested")),)
    )
    assumed = samples.sound()._replace(
        verdicts=(unknown._replace(target=unknown.target._replace(origin="assumed")),)
    )
    assert [
        exit_code([requested], words) for words in ((), ("error",), ("unknown",), ("never", "unknown"))
    ] == [0, 0, 1, 1]
    assert exit_code([assumed], ("unknown",)) == 0
    broken = samples.broken()._replace(verdicts=())
    assert [exit_code([broken], words) for words in (("unknown",), ("never", "unknown"))] == [
        1,
        3,
    ]  # blind: no verdict


def test_fail_on_unknown_from_the_command_line() -> None:
    adapter = str(SOUND.parent / "llama-lora")
    assert main(["check", adapter, "--for", "peft==0.21.2"]) == 0
    assert (
        main(["check", adapter, "--for", "peft==0.21.2", "--fail-on", "error", "--fail-on", "unknown"]) == 1
    )


def test_rules(capsys: Capture) -> None:
    assert main(["rules"]) == 0
    listed = capsys.readouterr().out
    assert main(["rules", "--format", "json"]) == 0
    rules = json.loads(capsys.readouterr().out)
    assert len(rules) > 20
    assert all(rule["id"] in listed and rule["summary"] for rule in rules)


def test_one_rule(capsys: Capture) -> None:
    assert main(["rules", "missing-companion"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("bnb/missing-companion")
    assert all(word in page for word in ("why", "fix", "see", "since 0.1.0"))


def test_explain_a_rule_and_an_error(capsys: Capture) -> None:
    assert main(["explain", "bnb/missing-companion"]) == 0
    card = capsys.readouterr().out
    assert main(["explain", "SafetensorError: Error while deserializing header: header too large"]) == 0
    found = capsys.readouterr().out
    assert card.startswith("bnb/missing-companion")
    assert "container/" in found


def test_explain_a_traceback_on_stdin() -> None:
    said = "SafetensorError: Error while deserializing header: header too large"
    text = f'Traceback (most recent call last):\n  File "x.py", line 1\n{said}\n'
    command = [sys.executable, "-m", "ckptdoctor", "explain", "-"]
    done = subprocess.run(command, input=text.encode() + b"\xff\x1b[31m", capture_output=True, check=False)
    assert done.returncode == 0
    assert b"container/" in done.stdout
    assert b"\x1b" not in done.stdout


def test_explain_what_nobody_knows(capsys: Capture) -> None:
    assert main(["explain", "the cat sat on the mat"]) == 3
    assert "No rule knows this text" in capsys.readouterr().out


def test_an_internal_error_is_one_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*arguments: object) -> list[Path]:
        raise ZeroDivisionError("\x1b[31mboom")

    monkeypatch.setattr("ckptdoctor.sources.discover.checkpoints_below", explode)
    assert main(["check", str(SOUND)]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "please report" in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    monkeypatch.setenv("CKPTDOCTOR_DEBUG", "1")
    assert main(["check", str(SOUND)]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_more_checkpoints_than_one_run_takes(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first ones are checked, and it is told where that ended: exit status 3, as for what was not read."""
    monkeypatch.setattr("ckptdoctor.cli.checking.MAX_BELOW", 2)
    for name in "abc":
        shutil.copytree(SOUND, tmp_path / name)
    assert main(["check", str(tmp_path), "--format", "json"]) == 3
    reports = json.loads(capsys.readouterr().out)["reports"]
    assert [Path(report["target"]).name for report in reports] == ["a", "b", tmp_path.name]
    assert f"more than 2 checkpoints here or below: those after {tmp_path / 'b'}" in reports[2]["nothing"]
    shutil.rmtree(tmp_path / "c")
    assert main(["check", str(tmp_path)]) == 0


def test_one_checkpoint_that_breaks_us_spares_the_others(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ckptdoctor import sources

    real = sources.open_source

    def explode(path: str) -> object:
        if path == str(NF4):
            raise ZeroDivisionError("boom")
        return real(path)

    monkeypatch.setattr(sources, "open_source", explode)
    assert main(["check", str(NF4), str(SOUND)]) == 3
    out = capsys.readouterr().out
    assert "a rule crashed" in out
    assert "✓" in out


def test_a_reader_that_stops_reading_changes_no_verdict(truncated: Path) -> None:
    command = [sys.executable, "-m", "ckptdoctor", "check", str(truncated)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 1


def test_interrupted(tmp_path: Path) -> None:
    fifo = tmp_path / "stdin"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    command = [sys.executable, "-m", "ckptdoctor", "explain", "-"]
    process = subprocess.Popen(command, stdin=reader, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(30):  # on a busy machine the first one may come before Python listens
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            break
    out, err = process.communicate(timeout=30)
    os.close(reader)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert out == b""


def in_terminal(columns: int, *args: str, **env: str) -> str:
    """Return what a run prints on a terminal of ``columns``."""
    import fcntl
    import termios

    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    settings = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "TERM")}
    command = [sys.executable, "-m", "ckptdoctor", *args]
    process = subprocess.Popen(
        command, stdout=terminal, stderr=terminal, env=settings | {"TERM": "xterm"} | env
    )
    os.close(terminal)
    parts = []
    while True:
        try:
            data = os.read(control, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        parts.append(data)
    os.close(control)
    process.wait(30)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("env", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_gets_colour_and_its_width(env: dict[str, str], colour: bool, truncated: Path) -> None:
    text = in_terminal(64, "check", str(truncated), **env)
    assert ("\x1b[" in text) is colour
    if not colour:
        assert max(map(len, text.splitlines())) <= 64


def test_force_colour(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["check", str(SOUND)])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["check", str(SOUND)])
    assert "\x1b[" in capsys.readouterr().out


def test_an_ascii_pipe_is_survived() -> None:
    done = run("check", SOUND, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "+ transformers" in done.stdout


def test_progress_appears_only_when_it_takes_long(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from ckptdoctor.cli import progress

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.Progress("[red]model") as quick:
        quick(1, 3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.Progress("[red]model") as slow:
        slow(1, 3)
        slow(3, 3)
    assert "[red]model" in capsys.readouterr().err
    with progress.Progress("a\x1b]0;owned\x07b\u202ec") as named:
        named(1, 3)
    said = capsys.readouterr().err
    assert r"a\x1b]0;owned\x07b\u202ec" in said
    assert "\x1b]" not in said
    assert said.endswith("1/3 files\r\x1b[2K"), "the bar is taken away"


@pytest.mark.parametrize(
    "command", [[], ["--help"], ["check", "--help"], ["explain", "--help"], ["rules", "--help"]]
)
def test_help(command: list[str], capsys: Capture) -> None:
    assert main(command) in (0, 2)
    said = capsys.readouterr()
    assert "Usage: ckptdoctor" in said.out + said.err
