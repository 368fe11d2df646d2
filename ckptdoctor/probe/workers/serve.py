"""The worker's half of the protocol: requests come in as JSON lines, events go out as JSON lines.

Events have a descriptor of their own: what a loader prints, and to which stream, cannot be taken for one. In order: one
``{"event": "ready", "versions", "device"}`` or ``{"event": "unusable", "exception"}``, then for each request any
number of ``{"event": "stage", "stage", …}`` and one ``{"event": "result", "id", …}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from typing import Any

from . import confine
from .raised import raised


class Events:
    """Where events go; whole lines, from any thread."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.stream = os.fdopen(descriptor, "w", encoding="utf-8")
        self.lock = threading.Lock()

    def say(self, event: str, **facts: Any) -> None:
        """Send one event; a reader that is gone ends this process."""
        with self.lock:
            try:
                self.stream.write(json.dumps({"event": event, **facts}) + "\n")
                self.stream.flush()
            except BrokenPipeError:
                os._exit(1)


def main(loader: str, descriptor: int) -> None:
    """Import the loader, announce it, then answer every request on standard input until it ends."""
    events = Events(descriptor)
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a loader that asks a question gets no answer
    os.dup2(2, 1)
    confine.confine()
    events.say("stage", stage="import")
    try:
        worker = importlib.import_module(f".{loader}", __package__)
        versions, device = worker.start()
    except Exception as error:
        events.say("unusable", exception=raised(error, str(error)))
        sys.exit(3)
    events.say("ready", versions=versions, device=device)
    for line in requests:
        request = json.loads(line)
        confine.protect(request["path"])
        try:
            found = worker.observe(request, events.say)
        except Exception as error:  # ours to answer for: the loader's own errors are part of what is observed
            import traceback

            traceback.print_exc()
            found = {"stage": "probe", "exception": raised(error, str(error))}
        events.say("result", id=request.get("id"), **found)
