"""What quantization_config says about the weights against what their tensors say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..checkpoint.names import join
from ..checkpoint.nouns import Declared, Signature
from ..formats import registry
from ..formats.base import Said
from ..formats.declared import preferred
from ..formats.skips import matched
from ..model import Fact, Hit, Location, Skip
from ..skiplists.entries import Entry
from .base import Context, Need, Params, needs


def _stored(context: Context, declared: Declared) -> Iterator[Signature]:
    """Yield the modules whose bits and group the block states."""
    wanted = registry.of(declared, context.rulebook).numbered(declared)
    for signature in context.view.signatures:
        if signature.stored.scheme in wanted and all(leaf.dtype for leaf in signature.leaves):
            yield signature


def numbers(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules whose ``key`` (bits or group) settles to another number than is declared for them."""
    key = str(params["key"])
    declared = preferred(context.ckpt)
    said = registry.of(declared, context.rulebook).said(declared) if declared is not None else Said()
    usual = said.bits if key == "bits" else said.group
    if declared is None or usual is None or said.block is not None:
        return
    found = matched(context.view, declared)
    if found.doubt or (said.varies and not found.entries):
        yield Skip(
            "", "abstained", found.doubt or "the config tells modules apart in a way that is not known"
        )
        return
    place = declared.pointer + said.pointer
    for signature, (value, pointer), stored, modules in _differing(context, declared, key, (usual, place)):
        leaf = signature.leaves[0].name
        names = [join(module, leaf) for module in modules[:99]]
        at = tuple(Location(context.view.owner.get(name, ""), tensor=name) for name in names)
        facts: dict[str, Fact] = {"declared": value, "stored": stored, "scheme": signature.stored.scheme}
        yield Hit(facts, (*at, Location(declared.file, pointer)), signature.template, len(modules))


def _differing(
    context: Context, declared: Declared, key: str, usual: tuple[int, str]
) -> Iterator[tuple[Signature, tuple[int, str], int, Sequence[str]]]:
    """Yield signatures with a number and where it stands, the number stored, and the modules of which both are said."""
    format_, found = registry.of(declared, context.rulebook), matched(context.view, declared)
    said, own, skipped = format_.said(declared), found.of("override"), found.of("skip")
    for signature in _stored(context, declared):
        settled = format_.settled(signature, said)
        got, width = settled.get(key), settled.get("in")
        if got is None or (not own and _agree(key, usual[0], got, width)):
            continue
        wrong: Mapping[tuple[int, str], Sequence[str]] = {usual: signature.modules}
        if own or skipped:
            wrong = _by_number(signature.modules, own, skipped, key, usual)
        for (value, pointer), modules in wrong.items():
            meant = said._replace(bits=value) if key == "bits" else said._replace(group=value)
            if modules and not _agree(key, value, got, width) and not format_.may_be(signature, meant):
                yield signature, (value, pointer), got, modules


def _by_number(
    modules: Sequence[str],
    own: Mapping[str, Entry],
    skipped: Mapping[str, Entry],
    key: str,
    usual: tuple[int, str],
) -> dict[tuple[int, str], list[str]]:
    """Return the number declared and where it stands → the modules that it is meant for."""
    found: dict[tuple[int, str], list[str]] = {}
    for module in modules:
        if module not in skipped:
            entry = own.get(module)
            value = _number(entry, key) if entry else None
            found.setdefault((value, entry.pointer) if entry and value is not None else usual, []).append(
                module
            )
    return found


def _number(entry: Entry, key: str) -> int | None:
    value = entry.settings.get("bits" if key == "bits" else "group_size")
    return value if type(value) is int else None


def _agree(key: str, declared: int, stored: int, width: int | None) -> bool:
    """Whether two numbers come to the same: one group a row, or as many groups either way."""
    if declared == stored:
        return True
    if key != "group" or width is None or stored < 1:
        return False
    return (declared == -1 and stored == width) or -(-width // stored) == -(-width // max(1, declared))


_ZEROS = 48
"""Bytes of zero points to look at: whole fields of every width, and no more than the smallest row has."""


def _zeros(context: Context) -> Iterator[tuple[Declared, Signature, str]]:
    """Yield the first symmetric module of a format whose labels store zero points apart; they are all the same."""
    declared = preferred(context.ckpt)
    format_ = registry.of(declared, context.rulebook) if declared is not None else registry.UNKNOWN
    leaf = format_.zero_points
    if declared is None or not leaf or not format_.states(declared):
        return
    if format_.said(declared).symmetric is not True:
        return
    for signature in _stored(context, declared):
        if signature.stored.bits and signature.leaf(leaf) and signature.modules:
            yield declared, signature, join(signature.modules[0], leaf)
            return


def _zero_words(context: Context, params: Params) -> Iterator[Need]:
    for *_, tensor in _zeros(context):
        yield Need(tensor, _ZEROS)


@needs(_zero_words)
def zeros_label(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if symmetric zero points are those of the other label of a format than the one declared."""
    for declared, signature, tensor in _zeros(context):
        data = context.micro.get(tensor)
        if not data:
            yield Skip("", "abstained", "the zero points could not be read")
            continue
        format_, bits = registry.of(declared, context.rulebook), signature.stored.bits or 0
        stored = format_.label(data, bits)
        label = format_.said(declared).format or format_.labels[0]
        if stored is not None and label in format_.labels and label != stored:
            at = (Location(declared.file, declared.pointer), Location("", tensor=tensor))
            facts: dict[str, Fact] = {"declared": label, "stored": stored, "bits": bits}
            yield Hit(facts, at, signature.template, signature.count)
