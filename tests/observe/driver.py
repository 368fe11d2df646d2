"""Run cases through one loader's worker process and keep what it says."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tests.observe.cases import Case, adapter_base, fingerprint, materialise
from tests.observe.paths import SOUND

MARK = "@@"
START_TIMEOUT = 600.0  # importing vLLM on two cores takes a minute
ELSEWHERE = re.compile(r"(/[\w.@+-]+)+/(site-packages|lib/python3\.\d+)/")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")


@dataclass(frozen=True)
class Record:
    """What one loader at one version did with one case; `sha` is the fingerprint of what it was given."""

    case: str
    sha: str
    loader: str
    versions: dict[str, str]
    device: str
    options: dict[str, Any]
    outcome: str
    precision: dict[str, str]
    stage: str
    exception: dict[str, str] | None
    max_abs_diff: float | None
    detail: str

    def line(self) -> str:
        """This record as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=False, ensure_ascii=False)


class WorkerDied(Exception):
    """The worker ended, or said nothing for too long."""


class WorkerProcess:
    """One running worker; its answers arrive through a queue so that waiting can time out."""

    def __init__(self, python: str, worker: Path) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self.process = subprocess.Popen(
            [python, str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.pumping = threading.Thread(target=self.pump, args=(self.process.stdout,), daemon=True)
        self.pumping.start()
        self.ready = self.answer(START_TIMEOUT)

    def pump(self, stream: IO[str]) -> None:
        """Move marked lines to the queue; None at the end."""
        for line in stream:
            if line.startswith(MARK):
                self.lines.put(line[len(MARK) :])
        self.lines.put(None)

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """The next message; WorkerDied when there is none in time."""
        try:
            line = self.lines.get(timeout=timeout_s)
        except queue.Empty:
            raise WorkerDied(f"no answer in {timeout_s:g} s") from None
        if line is None:
            raise WorkerDied(f"process died ({self.process.wait()}): {self.last_words()}")
        return dict(json.loads(line))

    def ask(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one case and wait for its result."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` says how it ended
        return self.answer(timeout_s)

    def last_words(self) -> str:
        """The end of what the process wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read()[-1500:].strip()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.pumping.join()
        with contextlib.suppress(BrokenPipeError):  # what it did not read any more
            if self.process.stdin is not None:
                self.process.stdin.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()


def observe(
    python: str,
    worker: Path,
    cases: Iterable[Case],
    timeout_s: float = 120.0,
    make: Callable[[Case, Path], Path] = materialise,
    identify: Callable[[Path], str] = fingerprint,
) -> list[Record]:
    """The record of each case, all in one worker process, a new one after each crash or time-out.

    `make` makes the checkpoint of a case in a directory below the one given, and returns that directory; `identify`
    gives the `sha` of it.
    """
    records: list[Record] = []
    process = WorkerProcess(python, worker)
    versions, device = process.ready["versions"], process.ready["device"]
    try:
        for case in cases:
            with tempfile.TemporaryDirectory() as scratch:
                path = make(case, Path(scratch))
                message, sha = prepare(case, path, worker.stem), identify(path)
                try:
                    result = process.ask(message, timeout_s)
                except WorkerDied as death:
                    result = {"outcome": "fails", "stage": "load", "detail": str(death)}
                    process.close()
                    process = WorkerProcess(python, worker)
            result = cleaned(result, {scratch + "/": "", str(SOUND) + "/": "sound/", str(python): "python"})
            shown = case.options.get(worker.stem, {})
            records.append(record(case.id, sha, worker.stem, versions, device, shown, result))
    finally:
        process.close()
    return records


def prepare(case: Case, path: Path, loader: str) -> dict[str, Any]:
    """Return the message that asks for the checkpoint of a case in `path`."""
    options = dict(case.options.get(loader, {}))
    base = adapter_base(case)
    if base is not None:
        options["base"] = str(base)
    sound = None if case.twin is None else str(SOUND / case.twin)
    return {"id": case.id, "path": str(path), "sound": sound, "options": options}


def record(
    case: str,
    sha: str,
    loader: str,
    versions: dict[str, str],
    device: str,
    options: dict[str, Any],
    result: dict[str, Any],
) -> Record:
    """One record from what the worker answered."""
    return Record(
        case=case,
        sha=sha,
        loader=loader,
        versions=versions,
        device=device,
        options=options,
        outcome=result["outcome"],
        precision=result.get("precision") or {},
        stage=result["stage"],
        exception=result.get("exception"),
        max_abs_diff=result.get("max_abs_diff"),
        detail=result.get("detail") or "",
    )


def cleaned(value: Any, paths: dict[str, str]) -> Any:
    """`value` with this machine's paths and memory addresses taken out of every text, so that records compare."""
    if isinstance(value, dict):
        return {key: cleaned(item, paths) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    for path, short in paths.items():
        value = value.replace(path, short)
    return ADDRESS.sub("0x…", ELSEWHERE.sub("", value))
