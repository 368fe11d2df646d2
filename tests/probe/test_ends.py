"""However a load ends, nothing of it is left: no process, no shared memory, no file but a log that was named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptdoctor.probe import guard
from ckptdoctor.probe.process import Failed, Limits, Worker
from tests.observe.paths import SOUND
from tests.probe.stand import DAEMON, SLEEP, interpreter, running, segments, wait

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and /dev/shm")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files; at the end nobody works there and nothing but named logs is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = segments()
    yield folder
    assert wait(lambda: not running(str(folder)), 10), running(str(folder))
    assert wait(lambda: not [path for path in folder.iterdir() if path.suffix != ".log"], 5)
    assert wait(lambda: not segments() - before, 5), segments() - before


def failure(python: str, timeout_s: float, limits: Limits = Limits()) -> tuple[Failed, str, float]:  # noqa: B008
    """Return how a start failed, what the log says, and how long it all took."""
    begun = time.monotonic()
    worker = Worker(python, "transformers", limits)
    with pytest.raises(Failed) as caught, worker:
        worker.start(timeout_s)
    took = time.monotonic() - begun
    log = Path(worker.log).read_text("utf-8", "replace")
    return caught.value, log, took


def test_a_loader_that_hangs_is_ended_with_everything_it_started(place: Path, tmp_path: Path) -> None:
    failed, log, took = failure(interpreter(tmp_path / "env", DAEMON + SLEEP), 2.0)
    assert failed.why == "timeout"
    assert "SEGMENT" in log
    assert took < 10


def test_a_loader_that_takes_too_much_memory_is_ended(place: Path, tmp_path: Path) -> None:
    code = "kept = []\nfor _ in range(100):\n    kept.append(bytearray(b'x' * 20_000_000))\n" + SLEEP
    failed, _, took = failure(interpreter(tmp_path / "env", code), 60.0, Limits(memory=300_000_000))
    assert failed.why == "memory"
    assert took < 30


def test_a_loader_that_prints_a_gigabyte_has_a_bounded_log(place: Path, tmp_path: Path) -> None:
    code = "import os\nfor _ in range(1000):\n    os.write(1, b'x' * 1_000_000)\nos.write(2, b'THE END')\nos._exit(7)"
    failed, log, took = failure(interpreter(tmp_path / "env", code), 60.0)
    assert (failed.why, failed.code) == ("died", 7)
    assert log.endswith("THE END")
    assert len(log) <= guard.HEAD + guard.TAIL + (1 << 17)
    assert took < 50


def test_a_loader_that_is_killed_is_told(place: Path, tmp_path: Path) -> None:
    failed, _, _ = failure(interpreter(tmp_path / "env", DAEMON + "import os; os.kill(os.getpid(), 9)"), 30.0)
    assert (failed.why, failed.code) == ("died", -signal.SIGKILL)


def test_an_environment_without_the_loader_is_told(place: Path) -> None:
    failed, _, _ = failure(sys.executable, 30.0)
    assert failed.why == "unusable"
    assert str(failed) == "ModuleNotFoundError: No module named 'torch'"


def test_an_interpreter_that_is_none_is_told(place: Path, tmp_path: Path) -> None:
    failed, _, _ = failure(str(tmp_path / "none"), 30.0)
    assert failed.why == "unstarted"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_ckptdoctor(place: Path, tmp_path: Path, number: int) -> None:
    """Ctrl-C, a polite end and a kill of our own process, while the loader and its daemon run."""
    python = interpreter(tmp_path / "env", DAEMON + SLEEP)
    command = [sys.executable, "-m", "ckptdoctor", "load", str(SOUND / "llama-bf16"), "--python", python]
    environment = {**os.environ, "TMPDIR": str(place)}
    ours = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert wait(lambda: list(place.glob("*/tmp/left")), 30)
    begun = time.monotonic()
    ours.send_signal(number)
    said, told = ours.communicate(timeout=30)
    assert time.monotonic() - begun < 15
    assert ours.returncode == (130 if number == signal.SIGINT else -number)
    assert (said, told) == (b"", b"ckptdoctor: interrupted\n" if number == signal.SIGINT else b"")
    assert wait(lambda: not list(place.iterdir()), 10), list(place.iterdir())


def test_the_guard_killed_takes_the_loader_with_it(place: Path, tmp_path: Path) -> None:
    worker = Worker(interpreter(tmp_path / "env", DAEMON + SLEEP), "transformers")
    assert wait(lambda: list(place.glob("*/tmp/left")))
    worker.guard.kill()
    with pytest.raises(Failed) as caught:
        worker.start(20.0)
    assert caught.value.why == "died"
    assert not Path(worker.scratch).exists()
