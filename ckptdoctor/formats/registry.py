"""From a declaration to its format. Only the file of the format that is asked for is imported."""

from __future__ import annotations

from importlib import import_module

from ..checkpoint.nouns import Checkpoint, Declared
from ..ruledata import Rulebook
from ..schemes.formats import formats
from .base import Format
from .declared import declarations
from .tables import Tables, tables

UNKNOWN = Format("", {})
"""What nothing is known of."""


def of(declared: Declared, rulebook: Rulebook) -> Format:
    """Return the format of a declaration: by its method, else by its keys; `UNKNOWN` where neither is known."""
    return named(_name(declared, tables(rulebook)), rulebook)


def _name(declared: Declared, known: Tables) -> str:
    if name := known.methods.get(declared.method):
        return name
    keys = declared.block.keys()
    for mark, name in known.marks:
        if mark <= keys:
            return name
    return "" if declared.method else known.unnamed


def named(name: str, rulebook: Rulebook) -> Format:
    """Return a format by its own name (that of its YAML); `UNKNOWN` where there is none."""
    data = tables(rulebook).each.get(name)
    if data is None:
        return UNKNOWN
    if data.get("recognised_only"):
        return Format(name, data, formats(rulebook))
    found = import_module(f"{__package__}.{name.replace('-', '_')}").FORMAT(name, data, formats(rulebook))
    assert isinstance(found, Format)
    return found


def name_of(method: str, rulebook: Rulebook) -> str:
    """Return the format that a method, or a family of its schemes, stands for; "" where none does."""
    known = tables(rulebook)
    return known.methods.get(method) or known.families.get(method, "")


def method_at(file: str, rulebook: Rulebook) -> str:
    """Return the method of what stands in ``file``, whatever it says; "" where that is not settled."""
    return next((method for place, _, method in tables(rulebook).places if place == file), "")


def method_of(declared: Declared, rulebook: Rulebook) -> str:
    """Return the method, that of the format whose keys the block has where it states none; "" if neither tells."""
    known = tables(rulebook)
    if declared.method:
        return declared.method
    name = next((name for mark, name in known.marks if mark <= declared.block.keys()), "")
    return next(iter(known.each.get(name, {}).get("methods", ())), "")


def as_scheme(ckpt: Checkpoint, scheme: str) -> Declared | None:
    """Return the first declaration that names a method whose tensors may be in ``scheme``."""
    return next(
        (declared for declared in declarations(ckpt) if declares(declared, scheme, ckpt.rulebook)), None
    )


def declares(declared: Declared, scheme: str, rulebook: Rulebook) -> bool:
    """Whether a declaration names a method whose tensors may be in ``scheme``."""
    return holds(declared.method, scheme, rulebook)


def holds(method: str, scheme: str, rulebook: Rulebook) -> bool:
    """Whether tensors under ``method`` may be in ``scheme``."""
    known = tables(rulebook)
    return scheme in known.each.get(known.methods.get(method, ""), {}).get("schemes", ())
