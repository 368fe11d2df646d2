"""Run cases through one loader's worker process and keep what it says."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ckptdoctor.probe.process import Failed, Limits, Worker
from ckptdoctor.probe.verdict import judge, named
from tests.observe.cases import Case, adapter_base, fingerprint, materialise
from tests.observe.paths import SOUND

DETAIL = 2000  # characters
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
    """One running worker of `ckptdoctor load`, with one thread, asked for case after case."""

    def __init__(self, python: str, loader: str, device: str = "cpu") -> None:
        self.worker = Worker(python, loader, Limits(device=device, threads=1))
        try:
            self.ready = self.worker.start()
        except Failed as failure:
            raise self.died(failure) from failure

    def ask(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one case and wait for its result: what a record holds of it."""
        try:
            return told(self.worker.ask(message, timeout_s))
        except Failed as failure:
            raise self.died(failure) from failure

    def died(self, failure: Failed) -> WorkerDied:
        """The failure with the last words of the process."""
        self.worker.close(keep=True)
        words = last_words(Path(self.worker.log))
        self.worker.close()
        return WorkerDied(f"{failure}: {words}" if failure.why != "timeout" else str(failure))

    def close(self) -> None:
        """End the process."""
        self.worker.close()


def last_words(log: Path, count: int = 1500) -> str:
    """The end of what a process wrote to its standard streams."""
    try:
        return log.read_bytes()[-count:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


def told(seen: dict[str, Any]) -> dict[str, Any]:
    """What a record says of what a worker saw: its outcome, `env` for one that only this machine spoils."""
    judged = judge(seen)
    twin = seen.get("twin") or {}
    notes = [named(kind, seen.get(kind)) for kind in ("missing", "unexpected", "mismatched")]
    notes += [*judged.reasons, named("differ", twin.get("differ"))]
    notes.append(f"largest difference of a value {twin['worst']:.3g}" if twin.get("worst") else "")
    notes.append(f"logits differ by {twin['logits_differ']}" if twin.get("logits_differ") else "")
    notes += [named("cast", seen.get("cast")), named("never read", seen.get("never_read"))]
    notes.append("logits not finite" if seen.get("logits_finite") is False else "")
    notes += [f"log: {line}" for line in seen.get("log") or ()]
    return {
        "outcome": "env" if judged.cause == "environment" else judged.outcome,
        "stage": seen["stage"],
        "exception": seen.get("exception"),
        "precision": seen.get("precision") or {},
        "max_abs_diff": twin.get("max_abs_diff"),
        "detail": "; ".join(filter(None, notes))[:DETAIL],
    }


def observe(
    python: str,
    loader: str,
    cases: Iterable[Case],
    timeout_s: float = 120.0,
    make: Callable[[Case, Path], Path] = materialise,
    identify: Callable[[Path], str] = fingerprint,
    device: str = "cpu",
) -> list[Record]:
    """The record of each case, all in one worker process, a new one after each crash or time-out.

    `make` makes the checkpoint of a case in a directory below the one given, and returns that directory; `identify`
    gives the `sha` of it.
    """
    records: list[Record] = []
    process = WorkerProcess(python, loader, device)
    versions, used = process.ready["versions"], process.ready["device"]
    try:
        for case in cases:
            with tempfile.TemporaryDirectory() as scratch:
                path = make(case, Path(scratch))
                message, sha = prepare(case, path, loader), identify(path)
                try:
                    result = process.ask(message, timeout_s)
                except WorkerDied as death:
                    result = {"outcome": "fails", "stage": "load", "detail": str(death)}
                    process.close()
                    process = WorkerProcess(python, loader, device)
            result = cleaned(result, {scratch + "/": "", str(SOUND) + "/": "sound/", str(python): "python"})
            shown = case.options.get(loader, {})
            records.append(record(case.id, sha, loader, versions, used, shown, result))
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
