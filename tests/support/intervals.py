"""``intervals.yaml``: what the loader models say next to the bounds of their data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from ckptdoctor import ruledata
from ckptdoctor.sources import open_source
from ckptdoctor.sources.base import Span
from ckptdoctor.sources.memory import MemorySource
from ckptdoctor.targets import TargetError, parse_target

from ..exam import sketch
from ..exam.damages import DAMAGES
from ..exam.run import EXAM
from ..observe.cases import Case, load_cases, materialise, read_case

FILE = Path(__file__).parent / "intervals.yaml"


class Entry(NamedTuple):
    """One checkpoint and the verdict for each target."""

    case: Case
    verdicts: Mapping[str, str]


@cache
def _file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


def entries() -> list[Entry]:
    """Return every entry, named cases looked up."""
    known = {case.id: case for case in load_cases()}
    found = []
    for row in _file()["cases"]:
        recipe = {key: value for key, value in row.items() if key != "verdicts"}
        if "exam" in row:
            case = Case(f"{row['exam']}-{row['damage']}", row["exam"], row["exam"], row["damage"], "exam")
        else:
            case = known[row["case"]] if "case" in row else read_case(recipe, "intervals")
        found.append(Entry(case, row["verdicts"]))
    return found


def labels() -> dict[str, str]:
    """Return ``--for`` text → the target it must become."""
    texts: dict[str, str] = _file()["targets"]
    return texts


def misread(rulebook: ruledata.Rulebook) -> list[str]:
    """Return the ``--for`` texts that become another target under ``rulebook``."""
    return [text for text, label in labels().items() if _label(text, rulebook) != label]


def _label(text: str, rulebook: ruledata.Rulebook) -> str:
    try:
        return parse_target(text, rulebook).label
    except TargetError as error:
        return str(error)


def held(case: Case) -> MemorySource:
    """Return a case as files in memory: states and micro-reads are fetched when its directory is gone."""
    if case.family == "exam":
        sound = sketch.from_json(
            json.loads((EXAM / "models" / f"{case.base}.json").read_text(encoding="utf-8"))
        )
        broken = DAMAGES[case.why](sound)
        assert broken is not None, case.id
        return sketch.source(broken, case.name)
    with TemporaryDirectory() as folder:
        source = open_source(materialise(case, Path(folder)))
        stats = source.entries()
        data = source.read_many([Span(name, 0, None) for name in stats])
    here = {name: raw for name, raw in zip(stats, data, strict=True) if isinstance(raw, bytes)}
    return MemorySource(case.name, here, {name: stat for name, stat in stats.items() if name not in here})
