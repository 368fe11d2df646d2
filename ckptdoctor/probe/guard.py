"""Starts a worker and sees to it that nothing of it outlives the one who asked: ``python -I -S guard.py JSON``.

A process between ckptdoctor and the loader, so that it works when ckptdoctor itself is killed: it holds the reading end
of a pipe whose other end only ckptdoctor has. When that closes, the worker ends, or it takes more memory than allowed,
every descendant is killed (as subreaper it inherits those whose parents are gone:
https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html); shared memory that only they had mapped and
the scratch directory are removed. The standard library only. At the end it prints one JSON object.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

SUBREAPER, DEATH_SIGNAL = 36, 1  # linux/prctl.h
TICK_S = 0.1
MEASURE_S, IDLE_S, SHARED_S = 0.1, 0.5, 2.0
"""How often: memory is measured where it is limited, and where it is not; mapped segments are looked up."""
HEAD, TAIL = 4 << 20, 1 << 20
"""Bytes of what the worker prints that are kept: from its beginning, and from its end."""
DONE = b"d"
"""What ckptdoctor writes before it closes the pipe: it has what it wanted, and sees to the log itself."""
KILL_S = 10.0
SHARED = "/dev/shm/"


class Log:
    """What the worker prints, in a file that does not grow beyond HEAD and TAIL."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = Path(path).open("wb")  # noqa: SIM115 - as long as the worker runs
        self.written = self.total = 0
        self.tail: deque[bytes] = deque()
        self.kept = 0

    def add(self, data: bytes) -> None:
        """Keep what comes first in the file at once, what comes last in memory."""
        self.total += len(data)
        room = HEAD - self.written
        if room > 0:
            self.file.write(data[:room])
            self.file.flush()
            self.written += len(data[:room])
            data = data[room:]
        if data:
            self.tail.append(data)
            self.kept += len(data)
            while self.kept - len(self.tail[0]) >= TAIL:
                self.kept -= len(self.tail.popleft())

    def close(self) -> None:
        """Write the end, and how much is left out before it."""
        if self.tail:
            missing = self.total - self.written - self.kept
            if missing:
                self.file.write(f"\n[… {missing} bytes left out …]\n".encode())
            self.file.write(b"".join(self.tail))
        self.file.close()


def prctl(option: int, value: int) -> None:
    """Set a property of this process, where the system has it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def family() -> list[int]:
    """Every descendant of this process, from /proc; nothing where there is none."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208 - a bare listing, often
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory that processes have, files mapped from disk left out: weights are read through such."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path("/proc", str(pid), "statm").read_text().split()
            total += (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
            shared = Path("/proc", str(pid), "status").read_text().partition("RssShmem:")[2].split()
            total += int(shared[0]) * 1024
    return total


def shared_memory(pids: list[int]) -> set[str]:
    """The segments in /dev/shm that processes have mapped."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path("/proc", str(pid), "maps").read_text(errors="replace").splitlines():
                place = line.find(SHARED)
                if place >= 0 and not line.endswith("(deleted)"):
                    found.add(line[place:])
    return found


def sweep(scratch: str) -> None:
    """Do what a guard does that was killed itself: its worker's children are found by their environment."""
    mine = []
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if os.fsencode(f"={scratch}/") in Path("/proc", entry, "environ").read_bytes():
                    mine.append(int(entry))
    segments = shared_memory(mine)
    for pid in mine:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(TICK_S)
    unlink(segments)


def end(pids_once: list[int]) -> None:
    """Kill every descendant, and those that they start meanwhile, and collect them."""
    deadline = time.monotonic() + KILL_S
    waiting = pids_once
    while waiting and time.monotonic() < deadline:
        for pid in waiting:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)
        waiting = family()


def unlink(segments: set[str]) -> None:
    """Remove segments that nobody has mapped any more."""
    others = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()] if segments else []  # noqa: PTH208
    used = shared_memory(others)
    for path in segments - used:
        with contextlib.suppress(OSError):
            if Path(path).stat().st_uid == os.getuid():
                Path(path).unlink()


def say(text: str) -> None:
    """Print the one line that this program prints."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Watch:
    """One worker, from its start to its end."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.log = Log(order["log"])
        self.why = ""
        self.peak = 0
        self.segments: set[str] = set()
        self.next_shared = 0.0
        reading, writing = os.pipe()
        self.worker = subprocess.Popen(
            order["command"],
            stdout=writing,
            stderr=writing,
            pass_fds=(order["events"],),
            cwd=order["scratch"],
            start_new_session=True,
            preexec_fn=lambda: prctl(DEATH_SIGNAL, signal.SIGKILL),  # should this process be killed
        )
        os.close(writing)
        os.close(order["events"])
        os.close(0)  # the requests are the worker's alone
        self.output = reading

    def run(self) -> None:
        """Watch until one of the ends that there are."""
        looked, done = 0.0, False
        often = MEASURE_S if self.order["memory"] else IDLE_S
        while not self.why:
            ready, _, _ = select.select([self.order["life"], self.output], [], [], TICK_S)
            if self.output in ready:
                self.log.add(os.read(self.output, 1 << 16))
            if self.order["life"] in ready:
                said = os.read(self.order["life"], 1)
                done = done or said == DONE
                self.why = "" if said else ("asked" if done else "gone")
            if time.monotonic() - looked >= often or self.worker.poll() is not None:
                looked = time.monotonic()
                self.look()

    def look(self) -> None:
        """Measure, and see whether the worker is still there."""
        if self.worker.poll() is not None:
            self.why = self.why or "ended"
            return
        pids = family()
        if time.monotonic() >= self.next_shared:
            self.next_shared = time.monotonic() + SHARED_S
            self.segments |= shared_memory(pids)
        size = resident(pids)
        self.peak = max(self.peak, size)
        if self.order["memory"] and size > self.order["memory"]:
            self.why = "memory"

    def finish(self) -> None:
        """End what is left, and leave nothing behind but the log; not even that when nobody is there to read it."""
        pids = family()
        self.segments |= shared_memory(pids)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.worker.pid, signal.SIGKILL)
        code = None if self.why != "ended" else self.worker.returncode
        end(pids)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.worker.wait(1)
        os.set_blocking(self.output, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.output, 1 << 16):
                self.log.add(data)
        self.log.close()
        unlink(self.segments)
        shutil.rmtree(self.order["scratch"], ignore_errors=True)
        if self.why == "gone":
            Path(self.log.path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            say(json.dumps({"why": self.why, "code": code, "peak": self.peak}))


def main() -> None:
    """Start and watch one worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prctl(SUBREAPER, 1)
    order = json.loads(sys.argv[1])
    try:
        watch = Watch(order)
    except OSError as error:
        shutil.rmtree(order["scratch"], ignore_errors=True)
        say(json.dumps({"why": "unstarted", "text": error.strerror or str(error)}))
        return
    try:
        watch.run()
    finally:
        watch.finish()


if __name__ == "__main__":
    main()
