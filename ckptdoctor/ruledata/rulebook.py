"""The rulebook of a run: all that is known beforehand, as one value that is passed along and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from .cards import Card, card_from

Read: TypeAlias = Callable[[str], Any]
"""Name of a compiled file (``architectures/LlamaForCausalLM.json``) → what it holds, None where there is none."""
_Made = TypeVar("_Made")
_LONGEST_CLASS = 100


class Rulebook:
    """Cards, loader facts, schemes and formats at once; prose, architectures and the rest when they are asked for."""

    __slots__ = ("_derived", "_prose", "cards", "digest", "formats", "loaders", "plugins", "read", "schemes")

    def __init__(
        self,
        digest: str,
        cards: tuple[Card, ...],
        loaders: Mapping[str, Mapping[str, Any]],
        schemes: Mapping[str, Mapping[str, Any]],
        formats: Mapping[str, Any],
        read: Read,
        plugins: frozenset[str] = frozenset(),
        prose: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.digest = digest
        """Changes whenever the content of any rule file does."""
        self.cards = cards
        self.loaders = loaders
        """Loader → the content of ``rules/loaders/<name>.yaml``."""
        self.schemes = schemes
        self.formats = formats
        """What each quantisation format says, and what all of them say together (``ckptdoctor/formats/tables.py``)."""
        self.plugins = plugins
        """Modules that cards may take checks from, beside ours: those that a trusted settings file names."""
        self.read = read
        """Gives the other compiled files; each is read once, and only when something in it is asked for."""
        self._prose = prose or {}
        self._derived: dict[object, object] = {}

    def replace(
        self,
        *,
        digest: str | None = None,
        cards: tuple[Card, ...] | None = None,
        loaders: Mapping[str, Mapping[str, Any]] | None = None,
        schemes: Mapping[str, Mapping[str, Any]] | None = None,
        plugins: Iterable[str] | None = None,
        prose: Mapping[str, Mapping[str, Any]] | None = None,
        read: Read | None = None,
    ) -> Rulebook:
        """Return a rulebook that differs in what is given; ``prose`` comes on top of what there is."""
        return Rulebook(
            self.digest if digest is None else digest,
            self.cards if cards is None else cards,
            self.loaders if loaders is None else loaders,
            self.schemes if schemes is None else schemes,
            self.formats,
            self.read if read is None else read,
            self.plugins if plugins is None else frozenset(plugins),
            {**self._prose, **(prose or {})},
        )

    def derived(self, make: Callable[[Rulebook], _Made]) -> _Made:
        """Return ``make(self)``, made once: what later stops build from the rulebook and share."""
        if make not in self._derived:
            self._derived[make] = make(self)
        return cast("_Made", self._derived[make])

    def prose(self, rule: str) -> Mapping[str, Any]:
        """Return summary, why, how_to_fix, since, references, errors, fixable, … of a rule; empty for what is none."""
        found = self._prose.get(rule) or self.read("cold.json").get(rule)
        return found if isinstance(found, Mapping) else {}

    def card_schema(self) -> Mapping[str, Any]:
        """Return the JSON Schema that a rule card must meet."""
        return cast("Mapping[str, Any]", self.read("card.schema.json"))

    def patterns(self) -> list[dict[str, Any]]:
        """Return all cards' error texts as ``{rule, text, loader, known, exception, regex, literal}``, for explain."""
        return cast("list[dict[str, Any]]", self.read("patterns.json"))

    def environment(self) -> Mapping[str, Any]:
        """Return which versions of packages go together: packages, breaks, for_checkpoints, requirements."""
        return cast("Mapping[str, Any]", self.read("environment.json"))

    def memory(self) -> Mapping[str, Any]:
        """Return what layers keep of a sequence (``cache``: class → row) and how much memory GPUs have (``gpus``)."""
        return cast("Mapping[str, Any]", self.read("memory.json"))

    def architecture(self, class_name: str) -> Mapping[str, Any] | None:
        """Return what is known of a model class such as ``LlamaForCausalLM``, None when nothing is."""
        # It comes from a hostile config.json and becomes a file name.
        if not class_name.isidentifier() or len(class_name) > _LONGEST_CLASS:
            return None
        return cast("Mapping[str, Any] | None", self.read(f"architectures/{class_name}.json"))

    def class_of(self, model_type: str) -> str:
        """Return the causal language model that ``model_type`` leads to, "" where it is not known."""
        return str(self.read("types.json").get(model_type, ""))


def rulebook_from(hot: Mapping[str, Any], read: Read) -> Rulebook:
    """Return the rulebook of a ``hot.json``; ``read`` gives the other compiled files when they are asked for."""
    cards = tuple(map(card_from, hot["cards"]))
    return Rulebook(hot["digest"], cards, hot["loaders"], hot["schemes"], hot["formats"], read)
