"""Run the rulebook over one checkpoint: bind card → check, survive what raises, and hand everything to the judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from .checkpoint import load
from .checkpoint.gc_paused import gc_paused
from .checkpoint.nouns import Checkpoint, View
from .checks.base import FROM_MODELS, NEEDS, Check, Context, Need
from .judging import shortened
from .judging.causes import MAX_CAUSES, Judge
from .judging.verdicts import verdicts
from .loaders.base import Plan, Reading, default_files
from .loaders.reading import read
from .model import Crash, Fix, Hit, Report, Skip, Target
from .ruledata import Card, Rulebook
from .skiplists.safe_regex import UnsafeRegex
from .sources.base import Source, Span, Unavailable

if TYPE_CHECKING:
    from .repairs.base import Repair

Progress = Callable[[int, int], None]
"""Called with (files read, files to read)."""

_MENDED = 100
"""Causes of one rule that get edits: no plan takes more steps, and each may look at every tensor."""
_MICRO_TENSOR = 64 * 1024
_MICRO_TOTAL = 4 * 1024 * 1024


def check_source(
    source: Source,
    targets: Sequence[Target],
    rulebook: Rulebook,
    *,
    metadata_only: bool = False,
    progress: Progress | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    base: Source | None = None,
) -> Report:
    """Check the checkpoint behind ``source`` for ``targets`` by ``rulebook`` and return the report.

    ``base`` is the model that an adapter is to be put on; of it only config and headers are read.
    ``select`` and ``ignore`` hold rule ids or family prefixes (``bnb/``). A defective checkpoint never raises.
    """
    with gc_paused():
        cards: Sequence[Card] = rulebook.cards
        if select or ignore:
            cards = [card for card in cards if _wanted(card.id, select, ignore)]
        ckpt = load(source, rulebook, metadata_only=metadata_only, progress=progress)
        if base is not None:
            ckpt.base = load(base, rulebook, metadata_only=True)
        return examine(ckpt, targets, cards)


def examine(ckpt: Checkpoint, targets: Sequence[Target], cards: Sequence[Card]) -> Report:
    """Judge an already parsed checkpoint by the ``cards`` of its rulebook."""
    crashes: list[Crash] = []
    readings = [_read(ckpt, target, crashes) for target in targets]
    from_models = frozenset(card.id for card in cards if _check(card.check, ckpt.rulebook) in FROM_MODELS)
    judge = Judge(ckpt, readings, from_models)
    skips: dict[tuple[str, str], Skip] = {}
    for context in _contexts(ckpt, readings, cards):
        for card in cards:
            for skip in _judged(card, context, judge, crashes):
                reason = shortened.text(skip.reason)
                skips.setdefault((card.id, reason), Skip(card.id, skip.kind, reason))
    findings = judge.findings()
    return Report(
        target=ckpt.label,
        findings=findings,
        verdicts=verdicts(ckpt, readings, findings, tuple(skips.values()), crashes),
        skips=tuple(skips.values()),
        crashes=tuple(crashes),
        schemes=_schemes(ckpt, readings),
        bytes_read=ckpt.bytes_read,
        revision=getattr(ckpt.source, "revision", None),
        weights=_weight_bytes(ckpt, readings),
        rulebook=ckpt.rulebook.digest,
        rules_run=len(cards),
        nothing=_nothing(ckpt),
        base=None if ckpt.base is None else ckpt.base.label,
    )


def _read(ckpt: Checkpoint, target: Target, crashes: list[Crash]) -> Reading:
    """Ask the model of the target's loader; a model that raises is a crash and knows nothing."""
    try:
        return read(ckpt, target)
    except Exception as error:  # the run goes on; the crash is reported and its verdict is unknown
        crashes.append(Crash(f"loader:{target.loader}", _short(error)))
        everything = frozenset(ckpt.entries)
        return Reading(
            target, Plan((), everything, unknown="ckptdoctor's model of this loader crashed"), {}, ()
        )


def _contexts(ckpt: Checkpoint, readings: Sequence[Reading], cards: Sequence[Card]) -> Iterator[Context]:
    """Yield one context per distinct set of weight files, micro-reads fetched."""
    groups: dict[tuple[str, ...], list[Reading]] = {}
    for reading in readings:
        groups.setdefault(reading.plan.files or default_files(ckpt), []).append(reading)
    if not groups:
        groups[default_files(ckpt)] = []
    for files, group in groups.items():
        blank = Context(ckpt, ckpt.view(files), tuple(group), {})
        yield blank._replace(micro=_micro(blank, cards))


def _micro(context: Context, cards: Sequence[Card]) -> Mapping[str, bytes]:
    """Fetch what the cards' checks declared, in one batch and within the budget."""
    spans = _spans(context, _needs(context, cards))
    chunks = context.ckpt.source.read_many(list(spans.values())) if spans else []
    got = {name: data for name, data in zip(spans, chunks, strict=True) if not isinstance(data, Unavailable)}
    read = context.ckpt.bytes_read
    context.ckpt.bytes_read = read._replace(micro=read.micro + sum(map(len, got.values())))
    return got


def _needs(context: Context, cards: Sequence[Card]) -> Mapping[str, Need]:
    """Return what the cards' checks declared, by key: of one that several declare, the most bytes."""
    wanted: dict[str, Need] = {}
    for card in cards:
        check = _check(card.check, context.rulebook)
        if check in NEEDS:
            for need in NEEDS[check](context, card.params):
                size = min(need.max_bytes, _MICRO_TENSOR)
                if need.key not in wanted or wanted[need.key].max_bytes < size:
                    wanted[need.key] = need._replace(max_bytes=size)
    return wanted


def _spans(context: Context, needs: Mapping[str, Need]) -> dict[str, Span]:
    """Return where to read ``needs``, as far as they are there and the budget lasts."""
    spans: dict[str, Span] = {}
    budget = _MICRO_TOTAL
    for key, (tensor, size, file) in needs.items():
        shard = context.ckpt.shards.get(file or context.view.owner.get(tensor, ""))
        entry = shard.tensors.get(tensor) if shard else None
        if shard is None or entry is None or not shard.readable or size > budget:
            continue
        begin, end = entry.data_offsets
        length = max(0, min(size, end - begin))
        budget -= length
        spans[key] = Span(shard.name, 8 + shard.header_len + begin, length)
    return spans


def _judged(card: Card, context: Context, judge: Judge, crashes: list[Crash]) -> Iterator[Skip]:
    """Hand the hits of a card to the judge and yield what could not be judged, hits past the judge's limit included."""
    for result in _run(card, context, crashes):
        if isinstance(result, Skip):
            yield result
        elif not judge.add(card, result, context.readings):
            yield Skip("", "blind", f"it has more than {MAX_CAUSES} causes here; the others were not judged")
            return


def _run(card: Card, context: Context, crashes: list[Crash]) -> Iterator[Hit | Skip]:
    try:
        for number, found in enumerate(_check(card.check, context.rulebook)(context, card.params)):
            if number < _MENDED and isinstance(found, Hit):
                found = _with_repair(card, context, found, crashes)
            yield found
    except Exception as error:  # one bad rule must not cost the others their verdict
        crashes.append(Crash(card.id, _short(error)))


def _with_repair(card: Card, context: Context, hit: Hit, crashes: list[Crash]) -> Hit:
    """Add to a hit the edits that its card's repair knows for it; one that harms nobody needs none."""
    name = card.fix.get("edits", "")
    if not name or (hit.outcome is not None and all(word == "ok" for word in hit.outcome.values())):
        return hit
    module, _, function = name.rpartition(".")
    try:
        repair: Repair = getattr(import_module(f"ckptdoctor.repairs.{module}"), function)
        edits = tuple(repair(context.ckpt, context.view, hit))
    except (
        UnsafeRegex
    ):  # what such an expression names is not looked up, so what it leaves to list is not known
        return hit
    except Exception as error:  # a repair that fails must not cost the finding
        crashes.append(Crash(card.id, f"repair {name}: {_short(error)}"))
        return hit
    return hit._replace(fix=Fix("", "safe", edits)) if edits else hit


def _check(name: str, rulebook: Rulebook) -> Check:
    """Return the function that a card names (``bnb.companions`` → ``checks/bnb.py: companions``, or a plug-in's)."""
    module, _, function = name.rpartition(".")
    return _function(module if module in rulebook.plugins else f"ckptdoctor.checks.{module}", function)


@cache
def _function(module: str, name: str) -> Check:
    found: Check = getattr(import_module(module), name)
    return found


def _wanted(rule: str, select: Sequence[str], ignore: Sequence[str]) -> bool:
    def named(patterns: Sequence[str]) -> bool:
        return any(rule == item or rule.startswith(item.rstrip("/") + "/") for item in patterns)

    return (not select or named(select)) and not named(ignore)


def _schemes(ckpt: Checkpoint, readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return the distinct stored schemes of the first view, quantised ones first, then by name."""
    view = _first_view(ckpt, readings)
    stored = {s.stored.scheme: s.stored.quantized for s in view.signatures if s.stored.scheme}
    return tuple(sorted(stored, key=lambda scheme: (not stored[scheme], scheme)))


def _weight_bytes(ckpt: Checkpoint, readings: Sequence[Reading]) -> int:
    files = _first_view(ckpt, readings).files
    shards = [ckpt.shards[name] for name in files if name in ckpt.shards]
    return sum(max(0, shard.size - 8 - shard.header_len) for shard in shards)


def _first_view(ckpt: Checkpoint, readings: Sequence[Reading]) -> View:
    return ckpt.view(next((r.plan.files for r in readings if r.plan.files), default_files(ckpt)))


def _nothing(ckpt: Checkpoint) -> str:
    """Say why there is nothing to check, or "" when there is."""
    if ckpt.shards or ckpt.docs or ckpt.defects:
        return ""
    return "no safetensors file, shard index, config.json or adapter_config.json here"


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
