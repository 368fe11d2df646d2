"""The modules of one signature, put to one expected template."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import product
from operator import itemgetter
from typing import Protocol

from ..checkpoint.nouns import Leaf
from .blueprint import Entry, starred

Index = tuple[str, ...]
"""The numbers of a tensor name, as spelled: one per `*` of its template."""


class Signed(Protocol):
    """Modules of one name template that hold the same leaves, such as a `Signature`."""

    @property
    def template(self) -> str:
        """Module name with `*` for every index."""

    @property
    def leaves(self) -> Sequence[Leaf]:
        """The tensors that each of the modules holds."""

    @property
    def modules(self) -> Sequence[str]:
        """Full module names."""


class Indexed:
    """Stored modules by the indices in their names, read only where somebody asks."""

    __slots__ = ("_by_index", "_fixed", "_signature", "complete")

    def __init__(self, signature: Signed, leaf: str, entries: Collection[Entry] = ()) -> None:
        self._signature = signature
        self._fixed = tuple(map(str, starred(leaf)[1]))
        self._by_index: dict[Index, str] | None = None
        self.complete = not self._fixed and _covers(signature, entries)
        """These are exactly the modules that the entries call for: no index is absent and none is surplus."""

    @property
    def by_index(self) -> dict[Index, str]:
        """Module names by index."""
        if self._by_index is None:
            pick = _picker(self._signature.template)
            self._by_index = {pick(name) + self._fixed: name for name in self._signature.modules}
        return self._by_index


def words(entry: Entry) -> Iterable[Index]:
    """Every index of an entry as it is spelled in names."""
    return product(*([str(number) for number in choices] for choices in entry.indices))


def _covers(signature: Signed, entries: Collection[Entry]) -> bool:
    """Whether the modules are those of the entries, told by their names: three times faster than by indices."""
    stars = signature.template.count("*")
    if len(signature.modules) != sum(entry.total for entry in entries):
        return False
    if any(len(entry.indices) != stars for entry in entries):
        return False
    spell = signature.template.replace("%", "%%").replace("*", "%s").__mod__
    names = set(signature.modules)
    return all(names.issuperset(map(spell, words(entry))) for entry in entries)


def _picker(template: str) -> Callable[[str], Index]:
    """A function that reads the indices of a name off its template."""
    places = [place for place, part in enumerate(template.split(".")) if part == "*"]
    if not places:
        return lambda name: ()
    if len(places) == 1:
        place = places[0]
        return lambda name: (name.split(".")[place],)
    pick = itemgetter(*places)
    return lambda name: pick(name.split("."))
