"""Every place where a checkpoint declares its quantisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checkpoint.nouns import Checkpoint, Declared
from ..ruledata import Rulebook
from .tables import tables

_FIRST: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("config.json", ("quantization_config",)),
    ("config.json", ("text_config", "quantization_config")),
)
"""What all formats share, tried before their own places, as transformers prefers it."""


def declarations(ckpt: Checkpoint) -> Iterator[Declared]:
    """Yield every quantisation declaration, the one loaders prefer first."""
    for file, path, implied in (*((file, path, "") for file, path in _FIRST), *tables(ckpt.rulebook).places):
        block: object = ckpt.object(file)
        for key in path:
            block = block.get(key) if isinstance(block, dict) else None
        if isinstance(block, dict) and (block or path):
            yield Declared(
                file, "".join(f"/{key}" for key in path), block, method(block, ckpt.rulebook) or implied
            )


def preferred(ckpt: Checkpoint) -> Declared | None:
    """Return the declaration that loaders go by."""
    return next(declarations(ckpt), None)


def method(block: Mapping[str, object], rulebook: Rulebook) -> str:
    """Return the normalised ``quant_method`` of a declaration, "" when it has none."""
    stated = block.get("quant_method")
    if isinstance(stated, str):
        name = stated.strip().lower()
        return tables(rulebook).spellings.get(name, name)
    return ""
