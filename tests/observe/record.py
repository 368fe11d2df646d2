"""Observe every case in one loader and keep the records in fixtures/observed.

    python -m tests.observe.record transformers --python path/to/venv/bin/python [--family F] [--case ID]
                                                [--fixed VERSION] [--like VERSION]

With --case or --family only those records are made anew; the others in the file stay as they are. With --fixed every
case that the loader was recorded to get wrong, and whose verdict fixes change, is observed after them and kept in
fixtures/observed-fixed. With --like the cases are those recorded of another version that need no more than an
environment without `READERS`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

from ckptdoctor.model import Target
from tests.observe.cases import Case, adapter_base, fingerprint, load_cases, materialise
from tests.observe.driver import observe
from tests.observe.mend import maker, meaning, mend
from tests.observe.paths import OBSERVED, OBSERVED_FIXED
from tests.observe.score import target_of
from tests.support.shipped import parse_target

READERS = {"optimum", "gptqmodel"}
"""What reads GPTQ and AWQ compiles an extension for minutes first: such cases are recorded apart."""


def main() -> None:
    """Parse the arguments, observe, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=["peft", "transformers", "vllm"])
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    parser.add_argument("--family", action="append", help="only the cases of this recipe file, or `sound`")
    parser.add_argument("--case", action="append", help="only this case")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one case")
    parser.add_argument(
        "--fixed", metavar="VERSION", help="after all fixes for this version, recorded before"
    )
    parser.add_argument(
        "--like", metavar="VERSION", help="the cases recorded of this version, less those of READERS"
    )
    args = parser.parse_args()
    cases = [case for case in load_cases(args.family) if not args.case or case.id in args.case]
    if args.like:
        wanted = without_readers(args.loader, args.like)
        cases = [case for case in cases if case.id in wanted]
    if args.loader == "peft":  # it loads nothing but adapters
        cases = [case for case in cases if adapter_base(case) is not None]
    folder = OBSERVED
    make, identify = materialise, fingerprint
    if args.fixed:
        folder, targets = OBSERVED_FIXED, mended_cases(cases, args.loader, args.fixed)
        cases = [case for case in cases if case.id in targets]
        make, identify = maker(targets), meaning
    records = observe(args.python, args.loader, cases, args.timeout, make, identify)
    path = folder / f"{args.loader}-{records[0].versions[args.loader]}.jsonl"
    save(path, {record.case: record.line() for record in records}, load_cases())
    print(path.name, dict(Counter(record.outcome for record in records)))


def without_readers(loader: str, version: str) -> set[str]:
    """Return the cases recorded of a version in an environment without `READERS`."""
    rows = map(json.loads, (OBSERVED / f"{loader}-{version}.jsonl").read_text("utf-8").splitlines())
    return {row["case"] for row in rows if READERS.isdisjoint(row["versions"])}


def mended_cases(cases: list[Case], loader: str, version: str) -> dict[str, Target]:
    """Return the broken cases that the loader was recorded to get wrong and whose fixes change the verdict."""
    found = {}
    for row in map(json.loads, (OBSERVED / f"{loader}-{version}.jsonl").read_text("utf-8").splitlines()):
        case = next((case for case in cases if case.id == row["case"] and case.family != "sound"), None)
        if case is not None and row["outcome"] not in ("ok", "env"):
            target = parse_target(target_of(row))
            with tempfile.TemporaryDirectory() as scratch:
                plan = mend(materialise(case, Path(scratch)), [target]).plan
            if plan.before.verdicts[0].outcome != plan.after.verdicts[0].outcome:
                found[case.id] = target
    return found


def save(path: Path, lines: dict[str, str], cases: list[Case]) -> None:
    """Write the new lines over the old ones, in the order of the cases; lines without a case go."""
    if path.exists():
        old = {json.loads(line)["case"]: line for line in path.read_text().splitlines()}
        lines = {**old, **lines}
    path.write_text("".join(lines[case.id] + "\n" for case in cases if case.id in lines))


if __name__ == "__main__":
    main()
