"""An event that no card names says nothing: every one has a card, or is known to be said by another check."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ckptdoctor import ruledata

from ..conftest import ROOT

SAID_OTHERWISE = {
    "no-weights": "shards/no-weights has rows: it is the files that tell, whoever opens them",
    "quantization-config-null": "config/quantization-null has rows",
    "shard-missing": "shards/missing-file asks for it",
    "shape-mismatch": "structure/shape-mismatch asks for it",
    "dense-unlisted": "quant/dense-unlisted and its kin ask for it",
    "quantizer-skipped": "nothing is wrong by itself; quant/method-passed-over tells it where weights are packed",
}


def codes() -> Iterator[str]:
    """Yield the codes of the events that a loader model makes, those of differences between parts too."""
    for path in sorted((ROOT / "ckptdoctor" / "loaders").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func if isinstance(node, ast.Call) and node.args else None
            if isinstance(name, ast.Name) and name.id in ("Event", "Difference", "_event"):
                yield from _texts(node.args[0])


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from (*_texts(node.body), *_texts(node.orelse))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_every_event_has_a_card_and_every_card_an_event() -> None:
    made = set(codes())
    named = {str(card.params["event"]) for card in ruledata.load().cards if card.check == "loader.events"}
    assert made - named == SAID_OTHERWISE.keys()
    assert named - made == set()
