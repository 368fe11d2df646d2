"""What every format answers. A format's own file says otherwise where its YAML and these defaults are not enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ..checkpoint.nouns import Declared, Signature
from ..schemes.formats import Format as Scheme
from ..schemes.solve import explains, solve
from .layout import Layout

Block = Mapping[str, object]


class Said(NamedTuple):
    """The weights as declared; None where the block does not say, or says several things."""

    bits: int | None = None
    group: int | None = None
    """Values per scale along the input dimension, -1 for one scale a row."""
    block: tuple[int, int] | None = None
    """Rows and columns per scale."""
    symmetric: bool | None = None
    format: str = ""
    """``pack-quantized``, ``gptq_v2``, ``gemm``, ``NVFP4``: the layout under the method's own name."""
    pointer: str = ""
    """Where the numbers stand, below the pointer of the declaration."""
    varies: bool = False
    """Modules may differ: several groups, or overrides by name."""


class Format:
    """A format by its YAML alone; enough for one that is recognised only."""

    zero_points: ClassVar[str] = ""
    """The leaf with packed zero points that tell one label of the format from another, "" where none does."""
    labels: ClassVar[Sequence[str]] = ()
    """Those labels, the one that is meant where none is stated first."""

    def __init__(self, name: str, data: Mapping[str, Any], schemes: Sequence[Scheme] = ()) -> None:
        self.name = name
        self.data = data
        """What ``rules/formats/<name>.yaml`` says (``rules/format.schema.json``)."""
        self._schemes = schemes

    def names(self, scheme: str) -> bool:
        """Whether tensors of this format may be in ``scheme``."""
        return scheme in self.data.get("schemes", ())

    def states(self, declared: Declared) -> bool:
        """Whether ``declared`` names a method of this format, rather than looking like one."""
        return declared.method in self.data.get("methods", ())

    # what the block says

    def said(self, declared: Declared) -> Said:
        """Return what the block says of the weights in general."""
        return Said()

    def word(self, said: Said) -> Mapping[str, Any]:
        """Return what is known of the block's word for how weights are stored."""
        found: Mapping[str, Any] = self.data.get("words", {}).get(said.format, {})
        return found

    def stores(self, declared: Declared) -> tuple[frozenset[str], str]:
        """Return the schemes some of which must be there, and the word of the block that says so; empty if unknown."""
        said = self.said(declared)
        if by_word := self.word(said).get("schemes"):
            return frozenset(by_word), said.format
        return frozenset(self.data.get("stores", ()) if self.states(declared) else ()), declared.method

    def numbered(self, declared: Declared) -> Sequence[str]:
        """Return the schemes whose bits and groups the block states."""
        found: Sequence[str] = self.data.get("numbers", ())
        return found if self.states(declared) or self.data.get("unnamed") else ()

    def bare(self, declared: Declared) -> str:
        """Return the scheme that codes without a scale are of, "" where the block does not tell."""
        said = self.said(declared)
        return "" if said.varies else str(self.word(said).get("bare", ""))

    def input_scale(self, declared: Declared) -> bool | None:
        """Return whether modules have a scale for their activations, None where that is not known."""
        return None

    @property
    def input_scaled(self) -> frozenset[str]:
        """The schemes whose modules may have a scale for their activations."""
        words = self.data.get("words", {}).values()
        return frozenset(scheme for row in words if "input_scale" in row for scheme in row.get("schemes", ()))

    # how a module is laid out

    def layout(self, block: Block) -> Layout | None:
        """Return how weights are to be stored, None where it is not known or differs from module to module."""
        return None

    def settled(self, signature: Signature, said: Said) -> Mapping[str, int | None]:
        """Return bits, group and in as far as the shapes of a module settle them."""
        stored = signature.stored
        usual = self.data.get("usual", {}).get(stored.scheme)
        if usual is None:
            return {"bits": stored.bits, "group": stored.group, "in": stored.in_features}
        widths = {*usual["bits"], said.bits or usual["bits"][0]}
        narrowed = self._scheme(stored.scheme)._replace(bits=tuple(widths), groups=tuple(usual["group"]))
        return solve(narrowed, {leaf.name: leaf for leaf in signature.leaves}).values

    def may_be(self, signature: Signature, said: Said) -> bool:
        """Whether a module may have the bits and group of ``said``, whatever its shapes seem to settle."""
        leaves = {leaf.name: leaf for leaf in signature.leaves}
        return explains(self._scheme(signature.stored.scheme), leaves, said.bits, said.group)

    def _scheme(self, name: str) -> Scheme:
        return next(scheme for scheme in self._schemes if scheme.id == name)

    def label(self, zeros: bytes, bits: int) -> str | None:
        """Return the label whose zero points these packed ones are, None where they tell nothing."""
        return None

    # what is left alone

    @property
    def skips(self) -> Mapping[str, Any]:
        """What is known of its skip lists: keys, which of them a repair writes, how complete they are."""
        found: Mapping[str, Any] = self.data.get("skips", {})
        return found

    def leave_out(self, block: Block, modules: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Yield what to write into the block, as pointer and value, so that ``modules`` are left alone."""
        keys: Sequence[str] = self.skips.get("writes", ())
        key = next((key for key in keys if block.get(key)), keys[-1] if keys else "")
        listed = block.get(key) or []
        if key and isinstance(listed, list):
            yield f"/{key}", [*listed, *modules]


def number(value: object) -> int | None:
    """Return ``value`` when it is a whole number."""
    return value if type(value) is int else None


def pair(value: object) -> tuple[int, int] | None:
    """Return ``value`` when it is a list of two whole numbers."""
    if isinstance(value, list) and len(value) == 2 and all(type(size) is int for size in value):
        return value[0], value[1]
    return None


def tile(value: object) -> tuple[int, int] | None:
    """Return ``value`` when it is a list of two sizes."""
    found = pair(value)
    return found if found and min(found) > 0 else None


def texts(value: object) -> tuple[str, ...]:
    """Return the strings of a list, those of lists inside it too; a lone string is a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(text for item in value for text in texts(item)) if isinstance(value, list) else ()
