"""Where a loader reads a weight as something other than what is stored: one event per signature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checkpoint.nouns import View
from ..model import Target
from .base import Event
from .facts import disagreement
from .modules import DENSE, family


def disagreements(
    view: View, held: Mapping[int, str], data: Mapping[str, object], target: Target, *, asked: str = ""
) -> Iterator[Event]:
    """Yield a ``disagreement`` event for every signature held in another family than it is stored in.

    ``asked`` is the family the user's own flag asks for: getting that is what was wanted.
    """
    for number, read in held.items():
        signature = view.signatures[number]
        stored = signature.stored.scheme
        if not stored or not read or family(stored) == family(read) or family(read) == asked:
            continue
        if read not in DENSE and read != "dense" and stored not in DENSE and not signature.stored.quantized:
            continue
        outcome, error = disagreement(data, family(stored), family(read), target.version)
        if outcome == "unknown" and family(stored) not in _MODELLED:
            continue
        tensor = signature.modules[0] if signature.modules else signature.template
        yield Event(
            "disagreement",
            outcome,
            {"stored": family(stored), "read": family(read)},
            view.locate(signature, _weight(signature.leaves)),
            signature.template,
            signature.count,
            error=error.replace("{module}", tensor) if error else None,
        )


_MODELLED = frozenset({"dense", "bnb-4bit", "bnb-8bit"})


def _weight(leaves: tuple[object, ...]) -> str | None:
    names = [getattr(leaf, "name", "") for leaf in leaves]
    return "weight" if "weight" in names else None
