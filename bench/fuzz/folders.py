"""Damaged checkpoints through the whole check, a renderer, and now and then the plan of repairs; all in memory.

Each input goes to one target and one format, drawn by lot, so that a million of them is a matter of an hour. What
breaks is written to ``fixtures/found`` (not committed) as a recipe.
"""

from __future__ import annotations

import json
import random
import time
import traceback
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from ckptdoctor import ruledata
from ckptdoctor.engine import check_source
from ckptdoctor.fixing.plan import Planner
from ckptdoctor.model import Target
from ckptdoctor.render import FORMATS, Page, plan, render
from ckptdoctor.targets import default_targets, parse_target

from . import bases, promises
from .bases import ADAPTER, ROOT, Folder
from .damage import damaged

RULEBOOK = ruledata.load()
HANG = 2.0
"""CPU seconds after which an input counts as a hang."""
OTHERS = (
    "transformers==4.57.6", "vllm==0.27.1,tp=2", "vllm==0.20.0", "unsloth==2025.3.10", "peft", "sglang", "tgi",
    "llama.cpp",
)  # fmt: skip
PAGES = (Page(), Page(width=40, unicode=False), Page(verbose=True, base="/work"))
FORMS = tuple(FORMATS)


class Trial(NamedTuple):
    """How one input is looked at."""

    targets: tuple[Target, ...]
    form: str
    page: Page = PAGES[0]
    metadata_only: bool = False
    base: Folder | None = None
    """The model that an adapter is checked against."""
    planned: bool = False
    """Its repairs are planned."""
    twice: bool = False
    """It is checked again, and says the same."""
    valid: bool = False
    """Its report is held against the schema."""


@cache
def targets() -> tuple[Target, ...]:
    """Return every target that is drawn."""
    return (*default_targets(RULEBOOK), *(parse_target(text, RULEBOOK) for text in OTHERS))


def drawn(folder: Folder, rng: random.Random) -> Trial:
    """Draw how an input is looked at."""
    known = targets()
    lot = rng.random()
    on = bases.models()[int(rng.random() * len(bases.models()))] if ADAPTER in folder.files else None
    return Trial(
        targets=known if lot < 0.02 else (known[int(rng.random() * len(known))],),
        form=FORMS[int(rng.random() * len(FORMS))],
        page=PAGES[int(rng.random() * len(PAGES))],
        metadata_only=rng.random() < 0.1,
        base=on if rng.random() < 0.5 else None,
        planned=rng.random() < 0.04,
        twice=rng.random() < 0.02,
        valid=rng.random() < 0.005,
    )


def everything(folder: Folder) -> Trial:
    """Return the trial that leaves nothing out."""
    on = bases.models()[0] if ADAPTER in folder.files else None
    return Trial(targets(), "json", base=on, planned=True, twice=True, valid=True)


def complaint(folder: Folder, trial: Trial) -> str:
    """Return what went wrong with one input, "" when nothing did."""
    begun = time.process_time()
    try:
        why = _broken(folder, trial)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        why = f"raised {type(error).__name__}: {error} at {place.name}"
    spent = time.process_time() - begun
    limit = HANG * (1 + len(trial.targets) + 20 * trial.planned)
    return why or (f"took {spent:.1f} s" if spent > limit else "")


def _broken(folder: Folder, trial: Trial) -> str:
    def check() -> promises.Report:
        on = None if trial.base is None else trial.base.source
        return check_source(
            folder.source, trial.targets, RULEBOOK, metadata_only=trial.metadata_only, base=on
        )

    report = check()
    why = promises.of_report(report, trial.targets)
    why = why or promises.of_page(trial.form, render(trial.form, [report], trial.page))
    if trial.valid:
        why = why or promises.of_schema(render("json", [report], trial.page))
    if trial.twice:
        why = why or promises.of_two(report, check())
    return why or (_plan_broken(folder, trial) if trial.planned else "")


def _plan_broken(folder: Folder, trial: Trial) -> str:
    found = Planner(
        folder.source,
        trial.targets,
        RULEBOOK,
        unsafe=trial.form == "json",
        metadata_only=trial.metadata_only,
    ).plan()
    for report in (found.before, found.after):
        why = promises.of_report(report, trial.targets)
        if why:
            return f"plan: {why}"
    why = promises.of_page("json", plan.as_json(found, applied=None))
    return why or promises.of_page("text", plan.text(found, trial.page, unsafe=True))


def block(count: int, rng: random.Random) -> Iterator[str]:
    """Try so many damaged checkpoints; yield what went wrong."""
    known = bases.folders()
    for number in range(count):
        folder = damaged(known[int(rng.random() * len(known))], known, rng)
        trial = drawn(folder, rng)
        why = complaint(folder, trial)
        if why:
            keep(folder, f"{why} ({trial.targets[0].label}, {trial.form})", f"{number}-{rng.random()}")
            yield why


def keep(folder: Folder, why: str, name: str) -> None:
    """Write a failing input down as a recipe."""
    place = ROOT / "fixtures/found"
    place.mkdir(parents=True, exist_ok=True)
    files: dict[str, object] = {name: {"hex": data.hex()} for name, data in folder.files.items()}
    files |= {name: {"size": stat.size, "state": stat.state} for name, stat in folder.stats.items()}
    recipe = {"why": why[:300], "as": folder.label, "files": files}
    (place / f"fuzz-{name}.json").write_text(json.dumps(recipe, indent=1))
