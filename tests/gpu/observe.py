"""Load the fixtures by real loaders on a GPU, and hold what they did against what the check says: `tests/gpu/run`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.observe.cases import Case, adapter_base, load_cases
from tests.observe.driver import Record, observe
from tests.observe.paths import OBSERVED
from tests.observe.score import SILENT, judge, target_of

LOADERS = ("transformers==5.23.0", "vllm==0.32.0")
GPU = Path("/dev/nvidia0")


def main() -> int:
    """Parse the arguments, make what is missing, observe, print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if GPU.exists() else "cpu")
    parser.add_argument("--loader", action="append", help=f"default: {' and '.join(LOADERS)}")
    parser.add_argument("--family", action="append", help="only the cases of this recipe file, or `sound`")
    parser.add_argument("--home", type=Path, help="where environments are kept")
    parser.add_argument("--out", type=Path, help="where records go; default: fixtures/observed/cuda")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one case")
    args = parser.parse_args()
    home = args.home or Path(
        os.environ.get("CKPTDOCTOR_CI_HOME", Path(tempfile.gettempdir(), "ckptdoctor-ci"))
    )
    if not GPU.exists():
        print(f"no GPU here ({GPU}): on the CPU, as far as that goes")
    wrong = 0
    for target in args.loader or LOADERS:
        python = environment(home, target, args.device)
        loader = target.partition("=")[0]
        cases = load_cases(args.family)
        records = observe(python, loader, cases, args.timeout, device=args.device)
        wrong += agreement(cases, records)
        keep(records, args.out or (OBSERVED / "cuda" if args.device == "cuda" else None))
    return 1 if wrong else 0


def environment(home: Path, target: str, device: str) -> str:
    """Return the interpreter of an environment with the loader, made where there is none."""
    folder = home / f"{target.replace('==', '-')}-{device}"
    python = folder / "bin" / "python"
    if not python.exists():
        home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "ckptdoctor", "env", "--make", str(folder), "--for", target]
        subprocess.run([*command, "--device", device], check=True)
    return str(python)


def agreement(cases: list[Case], records: list[Record]) -> int:
    """Print how far check and loader agree, and return how many are missed silently or are false alarms."""
    by_case = {case.id: case for case in cases}
    table: Counter[tuple[str, str]] = Counter()
    wrong = 0
    for record in records:
        row: dict[str, Any] = {**vars(record)}
        case = by_case[record.case]
        if record.outcome == "env" or (adapter_base(case) is None and record.loader == "peft"):
            table["env", "-"] += 1
            continue
        [verdict] = judge(case, [row]).report.verdicts
        observed = case.outcome(record.outcome)
        table[observed, verdict.outcome] += 1
        missed = verdict.outcome == "ok" and observed in SILENT
        alarm = observed == "ok" and verdict.outcome not in ("ok", "unknown")
        wrong += missed or alarm
        if observed != verdict.outcome != "unknown":
            what = "MISSED SILENT" if missed else "FALSE ALARM" if alarm else "differs"
            print(
                f"{what}: {record.case} [{target_of(row)}, {record.device}] {observed}, said {verdict.outcome}"
            )
    agreed = sum(count for (observed, said), count in table.items() if observed == said)
    judged = sum(count for (observed, said), count in table.items() if said not in ("-", "unknown"))
    first = records[0]
    print(f"{target_of(vars(first))} on {first.device}: {agreed} of {judged} agree; {dict(table)}")
    return wrong


def keep(records: list[Record], folder: Path | None) -> None:
    """Write the records beside those of other devices."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    first = records[0]
    path = folder / f"{first.loader}-{first.versions[first.loader].partition('+')[0]}.jsonl"
    path.write_text("".join(record.line() + "\n" for record in records), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
