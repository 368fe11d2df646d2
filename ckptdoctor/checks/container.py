"""Defects the parsers met: bytes that are not a header, JSON that is not JSON, index entries that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Hit, Skip
from .base import Context, Params

_NOT_FACTS = frozenset({"code", "remedy"})


def defect(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the defects called ``code`` whose facts equal the other parameters."""
    wanted = {key: value for key, value in params.items() if key not in _NOT_FACTS}
    for found in context.ckpt.defects:
        if found.code == params["code"] and all(
            found.facts.get(key) == value for key, value in wanted.items()
        ):
            yield Hit(found.facts, (found.at,), found.at.tensor or "", int(str(found.facts.get("count", 1))))


def blind(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Skip as blind for every weight file of the view whose header could not be had."""
    if context.ckpt.metadata_only:
        return
    for name in context.view.files:
        stat = context.ckpt.entries.get(name)
        if stat is not None and stat.state in ("absent", "unreadable", "link-out"):
            yield Skip("", "blind", f"the bytes of {name} could not be read ({stat.state})")
