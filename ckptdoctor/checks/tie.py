"""A head that is stored beside the embedding it is tied to, and is another: a few bytes of both tell."""

from __future__ import annotations

from collections.abc import Iterator

from ..loaders.shared.modules import architecture
from ..model import Hit, Location, Skip
from .base import Context, Need, Params, needs

_SAMPLE = 64 * 1024


def _stored_groups(context: Context) -> Iterator[list[str]]:
    """Yield tied groups of which two or more members are stored."""
    known = architecture(context.ckpt, context.view)
    for group in known.expected.tied if known.expected else ():
        stored = sorted(name for name in group if name in context.view.owner)
        if len(stored) > 1:
            yield stored


def samples(context: Context, params: Params) -> Iterator[Need]:
    """Ask for the first bytes of every tied tensor that is not the only one of its group."""
    for group in _stored_groups(context):
        yield from (Need(name, _SAMPLE) for name in group)


@needs(samples)
def overwritten(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield tied tensors that are both stored and differ in their first bytes."""
    for group in _stored_groups(context):
        read = {name: context.micro[name] for name in group if name in context.micro}
        if len(set(read.values())) > 1:
            at = tuple(Location(context.view.owner[name], tensor=name) for name in read)
            yield Hit({"tensors": tuple(read)}, at)
