"""Cases: a sound checkpoint, or a recipe that turns one into a broken or an odd one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.observe.ops import OPERATIONS
from tests.observe.paths import BROKEN, SOUND

KEYS = {"id", "base", "as", "ops", "why", "options", "twin", "onto", "lost"}


@dataclass(frozen=True)
class Case:
    """One checkpoint to observe: `base` changed by `ops`, in a directory called `name`, for the reason `why`.

    `family` is the recipe file it comes from, or "sound"; `options` are load options, by loader; `twin` is the
    sound checkpoint whose values a right load gives, None where a recipe mixes two on purpose; `onto` is the sound
    checkpoint that an adapter (and its twin) is put on, None for the one that its config names; `lost` says that
    something of the model is stored which a loader that goes on has dropped, whatever it answers then.
    """

    id: str
    base: str
    name: str
    why: str
    family: str
    ops: tuple[tuple[str, Any], ...] = ()
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    twin: str | None = None
    onto: str | None = None
    lost: bool = False

    def outcome(self, observed: str) -> str:
        """What an observed outcome means for this case."""
        return "corrupt" if self.lost and observed == "ok" else observed


def load_cases(families: Iterable[str] | None = None) -> list[Case]:
    """Every case, sound ones first; or those of the named families."""
    cases = [Case(name, name, name, "as its writer left it", "sound", twin=name) for name in sound_names()]
    for path in sorted(BROKEN.glob("*.yaml")):
        cases += read_recipes(path)
    wanted = None if families is None else set(families)
    return [case for case in cases if wanted is None or case.family in wanted]


def read_recipes(path: Path) -> list[Case]:
    """The cases of one recipe file: `defaults` for all of them, then `cases`."""
    document = yaml.safe_load(path.read_text())
    return [read_case({**document.get("defaults", {}), **row}, path.stem) for row in document["cases"]]


def read_case(row: dict[str, Any], family: str) -> Case:
    """One case; an unknown key or operation, or an operation that is not one pair, raises ValueError."""
    ops = tuple(pair for step in row["ops"] for pair in step.items())
    unknown = row.keys() - KEYS | {name for name, _ in ops} - OPERATIONS.keys()
    if unknown or len(ops) != len(row["ops"]):
        raise ValueError(f"{family}/{row['id']}: {sorted(unknown) or 'one operation per item'}")
    options, twin = row.get("options", {}), row.get("twin", row["base"])
    name = row.get("as", row["base"])
    return Case(
        row["id"],
        row["base"],
        name,
        row["why"],
        family,
        ops,
        options,
        twin,
        row.get("onto"),
        bool(row.get("lost")),
    )


def sound_names() -> list[str]:
    """The names of the sound fixtures."""
    return sorted(path.name for path in SOUND.iterdir() if path.is_dir())


def materialise(case: Case, into: Path) -> Path:
    """Make the checkpoint of `case` in a new directory below `into` and return that directory."""
    directory = into / case.name
    shutil.copytree(SOUND / case.base, directory)
    for name, args in case.ops:
        try:
            OPERATIONS[name](directory, args)
        except Exception as error:
            error.add_note(f"in {name} of case {case.id}") if hasattr(error, "add_note") else None
            raise
    return directory


@contextmanager
def made(case: Case) -> Iterator[Path]:
    """The checkpoint of `case` in a directory that goes afterwards.

    transformers guesses a lost model_type from the path, and a random name may hold one ("t5").
    """
    folder = Path(tempfile.gettempdir(), f"made-{os.getpid()}")
    folder.mkdir()
    try:
        yield materialise(case, folder)
    finally:
        shutil.rmtree(folder)


def fingerprint(directory: Path) -> str:
    """SHA-256 over the sorted (name, SHA-256) pairs of the files below `directory`."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    pairs = [[path.relative_to(directory).as_posix(), sha256(path)] for path in files]
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of one file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def adapter_base(case: Case) -> Path | None:
    """The sound checkpoint that an adapter case is put on; None for a model."""
    config = SOUND / case.base / "adapter_config.json"
    if not config.exists():
        return None
    if case.onto is not None:
        return SOUND / case.onto
    return SOUND / str(json.loads(config.read_text())["base_model_name_or_path"]).rpartition("/")[2]
