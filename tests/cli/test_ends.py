"""However a run ends, it ends with one line at most and the right exit status, never with a traceback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..conftest import ROOT

SOUND = ROOT / "fixtures" / "sound" / "llama-bf16"
PROGRAM = (sys.executable, "-c", "from ckptdoctor.cli import script; script()")
COMMANDS = {
    "check": ["check", str(SOUND)],
    "check --format json": ["check", str(SOUND), "--format", "json"],
    "hook": ["hook", str(SOUND / "config.json")],
    "explain": ["explain", "KeyError: 'absmax'"],
    "rules": ["rules"],
    "env": ["env"],
    "fit": ["fit", str(SOUND)],
    "fix": ["fix", "cut", "--dry-run"],
    "undo": ["undo", "cut"],
    "--version": ["--version"],
    "--help": ["--help"],
}
CODES = {"undo": {3}, "fix": {0, 1}, "env": {0, 1, 3}}
"""Exit statuses with everything in place, where it is not 0."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a model in it that has something to repair, and nothing to take back."""
    shutil.copytree(ROOT / "fixtures" / "sound" / "llama-bf16-sharded", tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors.index.json").unlink()
    return tmp_path


def shell(redirection: str, args: list[str], cwd: Path) -> tuple[int, str]:
    """Run the program under a shell's redirection; return its status and what it said on the other streams."""
    command = ["sh", "-c", f'"$@" {redirection}', "sh", *PROGRAM, *args]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr + done.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
def test_output_that_cannot_be_written(redirection: str, why: str, command: str, place: Path) -> None:
    code, said = shell(redirection, COMMANDS[command], place)
    if command == "undo":  # it has nothing to say on stdout
        assert (code, said.count("\n")) == (3, 1)
    else:
        assert (code, said) == (3, f"ckptdoctor: the output could not be written: {why}\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_plan_that_cannot_be_told_is_not_carried_out(form: str, place: Path) -> None:
    """As text it is told first; as JSON it is told with its number when it is done, which is said then."""
    before = {path.name: path.read_bytes() for path in (place / "cut").iterdir()}
    code, said = shell(">/dev/full", ["fix", "cut", "--yes", "--format", form], place)
    start = "ckptdoctor: the output could not be written: No space left on device"
    assert (code, said.count("\n"), said.startswith(start)) == (3, 1, True)
    if form == "json":
        assert "is done, and undo takes it back" in said
        assert shell("", ["undo", "cut"], place)[0] == 0
    assert {path.name: path.read_bytes() for path in (place / "cut").iterdir()} == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&-"])
def test_the_other_streams_change_no_exit_status(redirection: str, command: str, place: Path) -> None:
    code, said = shell(redirection, COMMANDS[command], place)
    assert code in CODES.get(command, {0})
    assert "Traceback" not in said
    assert "internal error" not in said


def test_all_streams_closed(place: Path) -> None:
    """The file that is opened next must not become the standard output: nothing of it may be written to."""
    before = {path.name: path.read_bytes() for path in (place / "cut").iterdir()}
    assert shell("<&- >&- 2>&-", ["check", "cut"], place) == (3, "")
    assert shell("<&- >&- 2>&-", ["explain", "-"], place) == (3, "")
    assert {path.name: path.read_bytes() for path in (place / "cut").iterdir()} == before


def test_a_report_in_a_file_needs_no_stdout(place: Path) -> None:
    code, said = shell(">&-", ["check", str(SOUND), "--output", "report.txt"], place)
    assert (code, said) == (0, "")
    assert "Sound" in (place / "report.txt").read_text() or "ok" in (place / "report.txt").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_working_directory_that_is_gone(command: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    inside = 'cd gone && rmdir "$PWD" && "$@"'
    args = [str(tmp_path / "gone") if arg == "cut" else arg for arg in COMMANDS[command]]
    done = subprocess.run(
        ["sh", "-c", inside, "sh", *PROGRAM, *args],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    if command in ("fix", "undo"):  # their model went as well
        assert done.returncode in (2, 3)
    else:
        assert done.returncode in CODES.get(command, {0}), done.stderr


def test_a_path_from_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    for path in (".", "model"):
        done = subprocess.run(
            ["sh", "-c", 'cd gone && rmdir "$PWD" && "$@"; code=$?; mkdir "$OLDPWD/gone"; exit $code', "sh",
             *PROGRAM, "check", path],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode in (2, 3)
        assert "Traceback" not in done.stderr + done.stdout
        assert "internal error" not in done.stderr


@pytest.mark.parametrize("command", ["check", "explain", "rules", "env"])
def test_a_reader_that_goes_changes_no_exit_status(command: str, place: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, *COMMANDS[command]], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) in CODES.get(command, {0})


SLOW_START = """
import os, signal, sys, time
at = int(sys.argv.pop(1))
count = 0
def tick(frame, event, arg):
    global count
    if event == "call":
        count += 1
        if count == at:
            for _ in range(int(os.environ["TIMES"])):
                os.kill(os.getpid(), signal.SIGINT)
    return None
from ckptdoctor.cli import script
sys.setprofile(tick)
script()
"""


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("command", ["check", "fix", "rules"])
def test_ctrl_c_at_any_moment(command: str, times: int, place: Path) -> None:
    """Not by the clock but by the number of calls made: while importing, reading, judging, writing, ending."""
    for at in (6, 12, 60, 300, 2_000, 9_000, 30_000):
        done = subprocess.run(
            [sys.executable, "-c", SLOW_START, str(at), *COMMANDS[command]],
            cwd=place, capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"TIMES": str(times)},
        )  # fmt: skip
        if done.returncode in CODES.get(command, {0}) and not done.stderr:
            assert at > 300  # it was over before
            continue
        assert (done.returncode, done.stderr) == (130, "ckptdoctor: interrupted\n"), at


IN_A_CALLBACK = """
import os, signal, sys
left = int(sys.argv.pop(1))
def tick(frame, event, arg):
    global left
    if event == "call" and frame.f_code.co_name == "cb" and "importlib" in frame.f_code.co_filename:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGINT)
from ckptdoctor.cli import script
sys.setprofile(tick)
script()
"""


@pytest.mark.parametrize("import_", [1, 2, 5])
def test_ctrl_c_while_an_import_lets_go_of_its_lock(import_: int) -> None:
    """It does so in a callback, of which Python prints what is raised there and goes on."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CALLBACK, str(import_), "rules"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "ckptdoctor: interrupted\n")


def test_ctrl_c_from_outside(place: Path) -> None:
    """From the first line of `main` on; before it Python itself is starting, and nobody else is there to answer."""
    for wait in (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3):
        ready, there = os.pipe()
        code = (
            "import os, ckptdoctor.cli as cli\nmain = cli.main\n"
            f"cli.main = lambda **given: (os.write({there}, b'.'), main(**given))[1]\ncli.script()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, "rules"],
            pass_fds=[there], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.close(there)
        os.read(ready, 1)
        os.close(ready)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) in ((130, "ckptdoctor: interrupted\n"), (0, "")), wait


def test_an_interrupt_that_python_would_swallow() -> None:
    code = (
        "import os, signal, sys\n"
        "from ckptdoctor.cli import interrupts\n"
        "interrupts.heard()\n"
        "class Last:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); [None for _ in range(9)]\n"
        "Last()\n"
        "print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ckptdoctor: interrupted\n")


def test_a_message_acts_in_no_log(place: Path) -> None:
    evil = "x\n::error::forged\n##[error]forged\x1b[2J"
    for command in ("check ? ", "check cut --for ?", "check cut --output ?/x", "check cut --fail-on ?", "?", "rules ?",
                    "explain ? ?", "check cut --config ?", "check cut --baseline ?", "env --python ?", "undo ?",
                    "check cut --select ?", "fix ?", "check --?"):  # fmt: skip
        args = [part.replace("?", evil) for part in command.split()]
        done = subprocess.run([*PROGRAM, *args], cwd=place, capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr
        assert done.returncode in (2, 3), args
        assert "\x1b" not in text, args
        assert "##[" not in text, args
        assert not re.search(r"^\s*::", text, re.MULTILINE), args
