"""The worker's half of the protocol: cases come in as JSON lines, results go out as lines that begin with @@."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "@@"


def free_sys_path() -> None:
    """Take this folder off sys.path, where `transformers.py` would hide the library, and add the repository."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    sys.path.append(str(here.parents[2]))


def serve(versions: dict[str, str], device: str, observe: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Announce this worker, then answer every case on standard input until it ends."""
    out = sys.stdout
    sys.stdout = sys.stderr  # what a loader prints must not reach the driver

    def say(message: dict[str, Any]) -> None:
        out.write(MARK + json.dumps(message) + "\n")
        out.flush()

    say({"ready": True, "versions": versions, "device": device})
    for line in sys.stdin:
        case = json.loads(line)
        say({"id": case["id"], **observe(case)})
