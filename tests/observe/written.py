"""Let a real loader open what the real writers wrote, beside dense twins that were decoded apart from both.

    python -m fixtures.write --into DIR --twins     # in the writers' environments
    python -m tests.observe.written vllm --python path/to/venv/bin/python DIR [--case WRITER/CASE]

One line per checkpoint goes into fixtures/observed/written: what the loader did with it, and the largest difference of
a logit from its dense twin (``twin``), from a twin that was decoded wrongly on purpose (``wrong``: zero points off by
one, nibbles or blocks out of order), or, where there is no twin, from the model before it was quantised (``dense``).
A loader reads the format as it is described when the first is small and the second is not; otherwise, whatever it
reports, what it holds is corrupt.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.observe.driver import WorkerDied, WorkerProcess
from tests.observe.paths import OBSERVED

INTO = OBSERVED / "written"
TWINS = ("twin", "wrong", "dense")
SAME = 1 / 8
"""Logits of these models go up to 4: rounding, and activations that are quantised too, stay far below this."""
UNFIT = "Cannot copy out of meta tensor"
"""gptqmodel 7.7 under a torch that is older than it asks for leaves GPTQ layers without storage in transformers."""


class Loader:
    """A worker that is started again when it dies."""

    def __init__(self, python: str, loader: str) -> None:
        self._new = lambda: WorkerProcess(python, loader)
        self._process = self._new()
        self.name = loader
        self.versions: dict[str, str] = self._process.ready["versions"]

    def opens(self, path: Path, sound: Path | None) -> dict[str, Any]:
        """What it does with one checkpoint, beside another that is read before it."""
        message = {"id": path.name, "path": str(path), "sound": str(sound) if sound else None, "options": {}}
        try:
            return self._process.ask(message, 180.0)
        except WorkerDied as death:
            self.close()
            self._process = self._new()
            return {
                "outcome": "fails",
                "stage": "load",
                "exception": None,
                "max_abs_diff": None,
                "detail": str(death),
            }

    def close(self) -> None:
        """End the worker."""
        self._process.close()


def row(loader: Loader, directory: Path, case: str) -> dict[str, Any]:
    """The record of one checkpoint."""
    twins = {kind: directory / kind / case for kind in TWINS}
    with_twin = {kind: path if path.exists() else None for kind, path in twins.items()}
    alone = loader.opens(directory / case, None)
    if alone["exception"] and UNFIT in alone["exception"]["text"]:
        alone["outcome"] = "env"
    kept = {
        key: alone[key] for key in ("outcome", "stage", "exception", "precision", "detail") if key in alone
    }
    differences = {
        kind: loader.opens(directory / case, path)["max_abs_diff"]
        if path and not alone["exception"]
        else None
        for kind, path in with_twin.items()
    }
    if kept["outcome"] in ("ok", "wrong-precision") and (differences["twin"] or 0) > SAME:
        kept["outcome"] = "corrupt"
    return {"case": case, "loader": loader.name, "versions": loader.versions, **kept, **differences}


def main() -> None:
    """Parse the arguments, open everything, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=["transformers", "vllm"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    parser.add_argument("--case", action="append", help="only this WRITER/CASE")
    args = parser.parse_args()
    loader = Loader(args.python, args.loader)
    path = INTO / f"{args.loader}-{loader.versions[args.loader]}.jsonl"
    path.parent.mkdir(exist_ok=True)
    lines = (
        {row["case"]: row for row in map(json.loads, path.read_text().splitlines())} if path.exists() else {}
    )
    for config in sorted(args.directory.glob("*/*/config.json")):
        case = config.parent.relative_to(args.directory).as_posix()
        if case.partition("/")[0] not in TWINS and (not args.case or case in args.case):
            lines[case] = row(loader, args.directory, case)
            print(case, lines[case]["outcome"], *(lines[case][kind] for kind in TWINS), flush=True)
    loader.close()
    path.write_text("".join(json.dumps(lines[case]) + "\n" for case in sorted(lines)), encoding="utf-8")
    print(path.name, dict(Counter(row["outcome"] for row in lines.values())))


if __name__ == "__main__":
    main()
