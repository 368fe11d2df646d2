"""What `ckptdoctor load` itself says of every recorded case, without a sound twin beside it, kept in fixtures/loaded.

    python -m tests.probe.record vllm --python path/to/venv/bin/python [--like 0.32.0] [--all]

By default the sound fixtures and the cases that were recorded as silent harm (with a twin: fixtures/observed); `--all`
takes every recorded case.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from ckptdoctor.probe.process import Failed, Limits, Worker
from ckptdoctor.probe.verdict import judge
from tests.observe.cases import Case, load_cases, materialise
from tests.observe.driver import prepare
from tests.observe.paths import FIXTURES, OBSERVED
from tests.observe.score import SILENT

LOADED = FIXTURES / "loaded"
TIMEOUT_S = 300.0


def main() -> None:
    """Parse the arguments, load, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=["peft", "transformers", "vllm"])
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    parser.add_argument("--like", metavar="VERSION", help="the recorded version; default: the one installed")
    parser.add_argument("--all", action="store_true", help="every recorded case")
    parser.add_argument("--case", action="append", help="only this case; the others in the file stay")
    args = parser.parse_args()
    worker = started(args.python, args.loader)
    versions = worker.ready["versions"]
    version = str(versions[args.loader]).partition("+")[0]
    path = LOADED / f"{args.loader}-{version}.jsonl"
    path.parent.mkdir(exist_ok=True)
    rows = recorded(path)
    for case in wanted(args.loader, args.like or version, every=args.all or bool(args.case)):
        if args.case and case.id not in args.case:
            continue
        try:
            rows[case.id] = ask(worker, args.loader, case)
        except Failed as failure:
            worker.close()
            worker = started(args.python, args.loader)
            rows[case.id] = {"outcome": "unknown", "cause": "environment", "stage": failure.why}
        lines = (json.dumps({"case": one.id, **rows[one.id]}) for one in load_cases() if one.id in rows)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    worker.close()


def recorded(path: Path) -> dict[str, dict[str, Any]]:
    """Case → what a load said of it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = {row.pop("case"): row for row in map(json.loads, lines)}
    return dict(rows)


def started(python: str, loader: str) -> Worker:
    """A worker that is ready."""
    worker = Worker(python, loader, Limits(device="cpu", threads=1))
    worker.start()
    return worker


def wanted(loader: str, version: str, *, every: bool) -> list[Case]:
    """The cases, as they were recorded with a twin."""
    rows = observed(loader, version)
    return [
        case
        for case in load_cases()
        if case.id in rows and (every or case.family == "sound" or rows[case.id] in SILENT)
    ]


def observed(loader: str, version: str) -> dict[str, str]:
    """Case → what a load beside a sound twin showed."""
    lines = (OBSERVED / f"{loader}-{version}.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["case"]: row["outcome"] for row in map(json.loads, lines)}


def ask(worker: Worker, loader: str, case: Case) -> dict[str, Any]:
    """What one load says."""
    with tempfile.TemporaryDirectory() as scratch:
        message = prepare(case, materialise(case, Path(scratch)), loader)
        seen = worker.ask({**message, "sound": None}, TIMEOUT_S)
    judged = judge(seen)
    row = {
        "outcome": judged.outcome,
        "cause": judged.cause,
        "stage": seen["stage"],
        "reasons": judged.reasons,
    }
    counts = {key: len(seen[key]) for key in ("differ_from_file", "not_compared") if key in seen}
    return {**row, "same": seen.get("same"), **counts, "weights_bytes": seen.get("weights_bytes")}


if __name__ == "__main__":
    main()
