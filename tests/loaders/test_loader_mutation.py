"""Every row of a loader's behaviour has a witness: change it, and a card's example or a recorded run disagrees."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from ckptdoctor import engine, ruledata
from ckptdoctor.checkpoint.nouns import Checkpoint
from ckptdoctor.model import Target
from ckptdoctor.sources import open_source
from tests.support.shipped import load, parse_target

from ..observe.cases import adapter_base, load_cases
from ..observe.paths import OBSERVED
from ..observe.score import target_of
from ..support import cards, intervals, mutants

FACTS = {
    "loader",
    "releases",
    "companions",
    "options",
    "methods",
    "model_types",
    "architectures",
    "packages",
    "bnb_refused",
}
FACTS |= {"read", "oldest", "versions_of"}
FACTS |= {"types", "config_keys", "default_targets", "model", "takes", "default_for", "distributions"}
"""Tables copied from the loaders' own lists of names and dates; every other table decides something."""

ALLOWED = {
    "transformers.behaviour null-quantization-raises": "the card config/quantization-null says the same in rows",
    "unsloth.regimes flag-or-name-or-bnb-config": "the model's last branch is this regime, named or not",
    "unsloth.behaviour in-flight-convert-crash versions >2025.3.9": "below it, the regime `name` decides first",
    "vllm.plugins vllm-bnb-plugin bitsandbytes versions >=0.28": "below it, vLLM's own methods decide first",
    "vllm.plugins vllm-gguf-plugin gguf": "refused with the row and without it; only the words differ",
    "transformers.disagreements bnb-4bit never-quantised versions >=5": "experts-are-fused leads there, from 5 on",
    "transformers.disagreements bnb-8bit never-quantised versions >=5": "experts-are-fused leads there, from 5 on",
    "vllm.routers_quantised  versions >=0.20": "below it, the model abstains from every quantised checkpoint",
    "vllm.disagreements quantized undeclared versions >=0.8.5": "below it, the model says nothing of such weights",
    "vllm.disagreements integers dense versions >=0.8.5": "below it, the model says nothing of such weights",
    "vllm.disagreements float8 dense versions >=0.8.5": "below it, the model says nothing of such weights",
}
"""Survivors that may live (the start of loader, table and mutant's name), and why no witness can see them."""

KIND = ("name", "package", "method", "stored", "read")
"""What tells rows of a table apart."""

TABLES = [
    (name, table) for name, data in ruledata.load().loaders.items() for table in data if table not in FACTS
]


class Witness(NamedTuple):
    """A checkpoint and what must be said of it."""

    ckpt: Checkpoint
    targets: list[Target]
    cards: tuple[ruledata.Card, ...]
    disagrees: Callable[[Any], bool]


@cache
def book() -> ruledata.Rulebook:
    """Return the rulebook of the tree."""
    return ruledata.load()


@cache
def witnesses(loader: str) -> list[Witness]:
    """Return the examples, records and intervals about ``loader`` that agree with the data as it is."""
    found = [*_examples(loader), *_records(loader), *_intervals()]
    return [witness for witness in found if not _red(witness, book())]


def _examples(loader: str) -> Iterator[Witness]:
    for card in book().cards:
        if "computed" not in card.outcomes.values():
            continue  # its outcomes are rows of its own, see test_mutation
        for example in cards.examples(card.id):
            targets = {target.label: target for target in cards.targets(example).values()}
            if any(target.loader == loader for target in targets.values()):
                ckpt = cards.loaded(example)
                yield Witness(
                    ckpt, list(targets.values()), (card,), lambda r, e=example: bool(cards.problems(e, r))
                )


def _records(loader: str) -> Iterator[Witness]:
    cases = {case.id: case for case in load_cases()}
    observed: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted(OBSERVED.glob(f"{loader}-*.jsonl")):
        for record in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if record["case"] in cases and record["outcome"] != "env":
                observed[record["case"]][target_of(record)] = record["outcome"]
    for case, outcomes in observed.items():
        ckpt = load(intervals.held(cases[case]))
        base = adapter_base(cases[case])
        ckpt.base = None if base is None else load(open_source(base))
        targets = [parse_target(text) for text in outcomes]
        verdicts = engine.examine(ckpt, targets, book().cards).verdicts
        agreed = {v.target.label: v.outcome for v in verdicts if v.outcome == outcomes[v.target.label]}
        targets = [target for target in targets if target.label in agreed]
        words = list(agreed.values())
        yield Witness(ckpt, targets, book().cards, lambda r, w=words: [v.outcome for v in r.verdicts] != w)


def _intervals() -> Iterator[Witness]:
    for entry in intervals.entries():
        ckpt = load(intervals.held(entry.case))
        targets = [parse_target(text) for text in entry.verdicts]
        words = list(entry.verdicts.values())
        yield Witness(ckpt, targets, book().cards, lambda r, w=words: [v.outcome for v in r.verdicts] != w)


def _red(witness: Witness, rulebook: ruledata.Rulebook) -> bool:
    witness.ckpt.rulebook = rulebook  # parsed once: no datum of a loader changes that
    return witness.disagrees(engine.examine(witness.ckpt, witness.targets, witness.cards))


def _with(loader: str, table: str, rows: Any) -> ruledata.Rulebook:
    data = {**book().loaders[loader], table: rows}
    return book().replace(loaders={**book().loaders, loader: data})


def _everywhere(rows: Any) -> Any:
    return [{**row, "versions": []} for row in rows] if isinstance(rows, list) else rows


@pytest.mark.slow
@pytest.mark.parametrize(("loader", "table"), TABLES)
def test_every_row_of_a_loader_has_a_witness(loader: str, table: str) -> None:
    rows = book().loaders[loader][table]
    # Only a witness that sees the table gone, or its rows hold for all versions, can see one row changed.
    extremes = [_with(loader, table, type(rows)()), _with(loader, table, _everywhere(rows))]
    able = [witness for witness in witnesses(loader) if any(_red(witness, extreme) for extreme in extremes)]
    survivors = []
    for mutant in mutants.of_table(rows, _known(loader, table)):
        rulebook = _with(loader, table, mutant.data)
        if _decisions(rows, loader, table) == _decisions(mutant.data, loader, table):
            continue  # rows are tried in order, and another one decides wherever this one changed
        if intervals.misread(rulebook):
            continue
        killer = next((witness for witness in able if _red(witness, rulebook)), None)
        if killer is not None:
            able.remove(killer)
            able.insert(0, killer)
        elif not f"{loader}.{table} {mutant.name}".startswith(tuple(ALLOWED)):
            survivors.append(mutant.name)
    assert not survivors, f"{loader}.{table}: no witness sees\n  " + "\n  ".join(survivors)


def _decisions(rows: Any, loader: str, table: str) -> Any:
    """Return which row decides for every known release: the first of its kind, in ``regimes`` the first of all."""
    if not isinstance(rows, list):
        return rows
    decided = {}
    for version in _known(loader, table):
        for row in rows:
            if ruledata.matches(row["versions"], version):
                kind = () if table == "regimes" else tuple(map(row.get, KIND))
                decided.setdefault((version, kind), {**row, "versions": None})
    return decided


def _known(loader: str, table: str) -> list[str]:
    data = book().loaders[loader]
    package = data.get("versions_of", {}).get(table, loader)
    return sorted(data["releases"].get(package, ()), key=ruledata.parse_version)
