"""An interpreter whose loader misbehaves while it is imported, and what is left of it afterwards."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

SLEEP = "import time; time.sleep(600)\n"
DAEMON = """
import os, sys, time
from multiprocessing import resource_tracker, shared_memory
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        segment = shared_memory.SharedMemory(create=True, size=4096)
        resource_tracker.unregister(segment._name, "shared_memory")
        open(os.environ["TMPDIR"] + "/left", "w").write(segment.name)
        print("SEGMENT", segment.name, flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(0.5)
"""
"""A grandchild in a session of its own, whose parent is gone, with a segment of shared memory and a file."""


def interpreter(place: Path, code: str) -> str:
    """Return an interpreter in which `import torch`, the first thing that a loader does, runs `code`."""
    packages = place / "packages"
    packages.mkdir(parents=True)
    (packages / "torch.py").write_text(code, encoding="utf-8")
    info = packages / "transformers-5.23.0.dist-info"
    info.mkdir()
    python = place / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return str(python)


def running(marker: str) -> list[str]:
    """Return the processes, other than zombies, in whose environment `marker` stands."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (place / "environ").read_bytes():
                    found.append(f"{place.name} {(place / 'cmdline').read_bytes()[:200]!r}")
    return found


def segments() -> set[str]:
    """Return the names in /dev/shm."""
    return {path.name for path in Path("/dev/shm").iterdir()}


def wait(done: object, seconds: float = 20.0) -> bool:
    """Wait until the callable `done` returns something true."""
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
