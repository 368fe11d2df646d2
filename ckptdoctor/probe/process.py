"""The loader's process, seen from here: start it, ask it, and end it with everything that it started.

Between it and us stands ``guard``, which ends it when we are killed. Events come on a pipe of their own, one JSON
object a line; what a hostile child writes there is bounded and parsed, never trusted.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import guard
from .workers import settings

HERE = Path(__file__).resolve().parent
MAX_EVENT = 64 << 20
"""Bytes of one event: names of every parameter of the largest model are a tenth of it."""
START_S = 600.0
"""Importing vLLM on two busy cores takes minutes."""
END_S = 20.0
TICK_S = 0.5
Tell = Callable[[Mapping[str, Any]], None]


class Failed(Exception):
    """The process gave no answer: it died, was ended, or said nothing in time."""

    def __init__(self, why: str, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.why = why
        """``timeout``, ``memory``, ``died``, ``unstarted`` or ``unusable`` (the loader cannot be imported)."""
        self.code = code
        """Its exit status, negative for a signal, where it ended by itself."""
        self.exception: Mapping[str, str] | None = None


class Limits(NamedTuple):
    """What a process may use."""

    device: str = "auto"
    memory: int = 0
    """Bytes of memory of the process and its children, 0 for as much as there is."""
    threads: int = 0
    """Processor threads of torch, 0 for as many as it likes."""


class Worker:
    """One running worker. Use it as a context: at the end of the block nothing of it is left but a log you `keep`."""

    def __init__(self, python: str, loader: str, limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
        if sys.platform == "win32":
            raise Failed("unstarted", "a test load needs Linux or macOS")
        self.scratch = tempfile.mkdtemp(prefix="ckptdoctor-load-")
        self.log = f"{self.scratch}.log"
        self.ended: dict[str, Any] = {}
        self.ready: dict[str, Any] = {}
        events, writing = os.pipe()
        living, self.life = os.pipe()
        command = [python, "-s", "-B", str(HERE / "workers" / "__main__.py"), loader, str(writing)]
        order = {"command": command, "events": writing, "life": living, "scratch": self.scratch}
        order |= {"log": self.log, "memory": limits.memory}
        try:
            self.guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(writing, living),
                start_new_session=True,
                env=environment(loader, limits, self.scratch),
            )
        finally:
            os.close(writing)
            os.close(living)
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        self.pump = threading.Thread(target=self._pump, args=(events,), daemon=True)
        self.pump.start()

    def _pump(self, descriptor: int) -> None:
        """Move whole lines to the queue; None at the end, or at a line that has none."""
        with os.fdopen(descriptor, "rb") as stream:
            while (line := stream.readline(MAX_EVENT)).endswith(b"\n"):
                self.lines.put(line)
        self.lines.put(None)

    def start(self, timeout_s: float = START_S, tell: Tell | None = None) -> dict[str, Any]:
        """Wait until the loader is imported; return its ``versions`` and ``device``. Raises Failed."""
        self.ready = self._until(("ready", "unusable"), timeout_s, tell)
        if self.ready["event"] == "unusable":
            exception = texts(self.ready.get("exception"))
            failure = Failed("unusable", f"{exception.get('type', '')}: {exception.get('text', '')}")
            failure.exception = exception
            raise failure
        return self.ready

    def ask(self, request: Mapping[str, Any], timeout_s: float, tell: Tell | None = None) -> dict[str, Any]:
        """Send one request and return its result. Raises Failed."""
        assert self.guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `_until` says how it ended
            self.guard.stdin.write(json.dumps(request).encode() + b"\n")
            self.guard.stdin.flush()
        return self._until(("result",), timeout_s, tell)

    def _until(self, wanted: tuple[str, ...], timeout_s: float, tell: Tell | None) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            alive, left = self.guard.poll() is None, deadline - time.monotonic()
            try:
                line = self.lines.get(timeout=max(min(left, TICK_S), 0))
            except queue.Empty:
                if left <= 0:
                    raise Failed("timeout", f"no answer in {timeout_s:g} s") from None
                if not alive:  # and what it started may still hold the pipe open
                    raise self._died() from None
                continue
            event = None if line is None else _event(line)
            if event is None:
                raise self._died()
            if event["event"] in wanted:
                return event
            if tell is not None:
                tell(event)

    def _died(self) -> Failed:
        with contextlib.suppress(subprocess.TimeoutExpired):  # the guard finds out by itself how it ended
            self.guard.wait(END_S)
        self.close(keep=True)
        why, code = self.ended.get("why", ""), self.ended.get("code")
        if why == "unstarted":
            return Failed("unstarted", str(self.ended.get("text", "")))
        if why == "memory":
            return Failed("memory", f"it took more than the limit: {self.ended.get('peak', 0):,} bytes")
        how = f"killed by signal {-code}" if isinstance(code, int) and code < 0 else f"exit status {code}"
        return Failed("died", f"the process died: {how}", code if isinstance(code, int) else None)

    def close(self, *, keep: bool = False) -> None:
        """End the process and whatever it started; ``keep`` its log."""
        if self.life >= 0:
            with contextlib.suppress(OSError):
                os.write(self.life, guard.DONE)
            os.close(self.life)
            self.life = -1
            assert self.guard.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self.guard.stdin.close()
            self.guard.stdin = None  # or `communicate` would flush it
            self._collect()
        if not keep:
            Path(self.log).unlink(missing_ok=True)

    def _collect(self) -> None:
        try:
            said, _ = self.guard.communicate(timeout=END_S)
            self.ended = json.loads(said)
        except (subprocess.TimeoutExpired, ValueError):  # it hangs, or was killed itself
            self.guard.kill()
            self.guard.wait()
            guard.sweep(self.scratch)
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.pump.join(timeout=END_S)
        if self.guard.stdout is not None:
            self.guard.stdout.close()

    def __enter__(self) -> Worker:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End it; the log stays where no answer came, for whoever tells the user."""
        self.close(keep=kind is not None and issubclass(kind, Failed))


def environment(loader: str, limits: Limits, scratch: str) -> dict[str, str]:
    """The environment variables of a worker: few of ours, no token, no home, no network."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(settings.KEPT)}
    places = {name: f"{scratch}/{folder}" for name, folder in settings.PLACES.items()}
    for place in places.values():
        Path(place).mkdir(exist_ok=True, mode=0o700)
    found = {**kept, **settings.EVERYWHERE, **settings.LOADERS.get(loader, {}), **places}
    found["CKPTDOCTOR_DEVICE"] = limits.device
    if limits.device == "cpu":
        found["CUDA_VISIBLE_DEVICES"] = ""
    if limits.threads:
        found["OMP_NUM_THREADS"] = str(limits.threads)
    return found


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def texts(value: object) -> dict[str, str]:
    """Return a mapping with every key and value made a text; an empty one for what is none."""
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}


@contextlib.contextmanager
def unchanged(directory: Path) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, the files below ``directory`` that are new, gone or changed."""
    found: list[str] = []
    before = _listing(directory)
    yield found
    after = _listing(directory)
    found += sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _listing(directory: Path) -> dict[str, tuple[int, int]]:
    listing = {}
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            stat = path.lstat()
            listing[path.relative_to(directory).as_posix()] = stat.st_size, stat.st_mtime_ns
    return listing
