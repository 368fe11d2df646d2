"""Observe every case in one loader and keep the records in fixtures/observed.

    python -m tests.observe.record transformers --python path/to/venv/bin/python [--family F] [--case ID]

With --case or --family only those records are made anew; the others in the file stay as they are.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from tests.observe.cases import Case, adapter_base, load_cases
from tests.observe.driver import observe
from tests.observe.paths import OBSERVED

WORKERS = Path(__file__).parent / "workers"


def main() -> None:
    """Parse the arguments, observe, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=sorted(path.stem for path in WORKERS.glob("*.py")))
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    parser.add_argument("--family", action="append", help="only the cases of this recipe file, or `sound`")
    parser.add_argument("--case", action="append", help="only this case")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one case")
    args = parser.parse_args()
    cases = [case for case in load_cases(args.family) if not args.case or case.id in args.case]
    if args.loader == "peft":  # it loads nothing but adapters
        cases = [case for case in cases if adapter_base(case) is not None]
    records = observe(args.python, WORKERS / f"{args.loader}.py", cases, args.timeout)
    path = OBSERVED / f"{args.loader}-{records[0].versions[args.loader]}.jsonl"
    save(path, {record.case: record.line() for record in records}, load_cases())
    print(path.name, dict(Counter(record.outcome for record in records)))


def save(path: Path, lines: dict[str, str], cases: list[Case]) -> None:
    """Write the new lines over the old ones, in the order of the cases; lines without a case go."""
    if path.exists():
        old = {json.loads(line)["case"]: line for line in path.read_text().splitlines()}
        lines = {**old, **lines}
    path.write_text("".join(lines[case.id] + "\n" for case in cases if case.id in lines))


if __name__ == "__main__":
    main()
