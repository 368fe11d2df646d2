"""Replace every number of a fixture's config.json by one that cannot be, and hold ckptdoctor's verdict against a load.

    python -m tests.observe.numbers --python envs/tf5/bin/python --for transformers==5.23.0 [--base llama-bf16 …]

Prints what the loader did and the verdict wherever they differ, silent harm called ok first. A fixture takes two to
three minutes. Exit 1 when a silent harm is called ok.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ckptdoctor import check
from tests.observe.driver import WorkerDied, WorkerProcess
from tests.observe.paths import SOUND

BASES = ("llama-bf16", "qwen3moe-bf16", "gemma3-bf16", "phi3-bf16", "llama-tied")
ABSENT = "absent"
# 10^5 layers are left to the tests of the formulas: a loader builds each of them before it says a word.
VALUES: tuple[Any, ...] = (-1, 0, 3, 10**6, 2**49, 1.5, 2.0, 1e400, "2", "text")
VALUES += (True, False, [2], {}, None, ABSENT)
TIMEOUT_S = 40.0


def numbers(config: dict[str, Any]) -> Iterator[str]:
    """The keys of a config.json whose value is a number."""
    return (key for key, value in config.items() if type(value) in (int, float))


def trials(bases: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    """Fixture, key and value of every trial."""
    for base in bases:
        config = json.loads((SOUND / base / "config.json").read_text(encoding="utf-8"))
        for key in numbers(config):
            large = "layers" in key
            yield from ((base, key, value) for value in VALUES if not (large and _above(value, 10**3)))


def _above(value: Any, limit: int) -> bool:
    return isinstance(value, (int, float)) and value > limit


def changed(base: str, key: str, value: Any, place: Path) -> Path:
    """A copy of a fixture with one value replaced."""
    place.mkdir()
    for path in (SOUND / base).iterdir():
        shutil.copyfile(path, place / path.name)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config[key] = value
    if value is ABSENT:
        del config[key]
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return place


def told(place: Path, target: str) -> str:
    """The outcome that ckptdoctor gives."""
    return str(check(place, targets=[target]).verdicts[0].outcome)


def main() -> int:
    """Sweep the fixtures and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, help="an interpreter that has the loader")
    parser.add_argument("--for", dest="target", default="transformers==5.23.0", metavar="TARGET")
    parser.add_argument("--base", action="append", choices=BASES)
    parser.add_argument("--key", action="append", help="only these")
    options = parser.parse_args()
    seen, harmed = Counter[str](), 0
    loader = options.target.partition("=")[0]
    process = WorkerProcess(options.python, loader)
    with tempfile.TemporaryDirectory() as folder:
        for number, (base, key, value) in enumerate(trials(options.base or BASES)):
            if options.key and key not in options.key:
                continue
            place = changed(base, key, value, Path(folder) / str(number))
            case = {"id": str(number), "path": str(place), "sound": str(SOUND / base), "options": {}}
            try:
                did = process.ask(case, TIMEOUT_S)
            except WorkerDied as death:
                did = {"outcome": "fails", "detail": str(death)[:200]}
                process.close()
                process = WorkerProcess(options.python, loader)
            says = told(place, options.target)
            agree = says == did["outcome"]
            seen["agree" if agree else f"did {did['outcome']}, we say {says}"] += 1
            if not agree:
                harmed += says == "ok" and did["outcome"] != "env"
                why = str((did.get("exception") or did).get("text") or did.get("detail"))
                print(
                    f"{base} {key} {json.dumps(value)}: did {did['outcome']}, we say {says}:",
                    why[:160].replace("\n", " "),
                    flush=True,
                )
    process.close()
    print(dict(seen))
    return 1 if harmed else 0


if __name__ == "__main__":
    raise SystemExit(main())
