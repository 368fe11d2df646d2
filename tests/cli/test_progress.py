"""The line that tells how far a run is: in a terminal, in a terminal only, and gone at the end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CLEAR = "\r\x1b[2K"
SLOW = """
import time
with {make} as line:
    for step in range(1, 9):
        line({call})
        time.sleep(0.1)
"""
LINES = {
    "files": (
        "from ckptdoctor.cli.progress import Progress",
        SLOW.format(make="Progress('model')", call="step, 8"),
        "Reading model  ━",
        "/8 files",
    ),
    "bytes": (
        "from ckptdoctor.cli.transfer import Transfer",
        SLOW.format(make="Transfer('out')", call="step * 10**8, 8 * 10**8"),
        "Writing out  ━",
        " of 800 MB  ",
    ),
    "stages": (
        "from ckptdoctor.cli.loading import Stages",
        SLOW.format(make="Stages()", call="{'stage': 'weights', 'done': step * 10**6, 'total': 8 * 10**6}"),
        "reading weights: 1.0 MB of 8.0 MB  (0 s)",
        "reading weights: 8.0 MB of 8.0 MB  (",
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize("name", LINES)
def test_a_terminal_has_it_and_loses_it(name: str) -> None:
    begin, code, *shown = LINES[name]
    ours, theirs = os.openpty()
    with subprocess.Popen([sys.executable, "-c", begin + code], stderr=theirs) as process:
        os.close(theirs)
        said = _all(ours)
    assert process.returncode == 0, said
    for part in shown:
        assert part in said
    assert said.startswith(CLEAR)
    assert said.endswith(CLEAR)
    assert said.count(CLEAR) > 2


@pytest.mark.parametrize("name", LINES)
def test_a_pipe_has_nothing(name: str) -> None:
    begin, code, *_ = LINES[name]
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _all(terminal: int) -> str:
    found = b""
    try:
        while more := os.read(terminal, 4096):
            found += more
    except OSError:  # Linux: the other end is closed
        pass
    finally:
        os.close(terminal)
    return found.decode()
