"""What folders are damaged from: the sound fixtures and the examples of all cards."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ckptdoctor.rulebook import files, recipe
from ckptdoctor.sources.base import Span, Stat
from ckptdoctor.sources.memory import MemorySource

ROOT = Path(__file__).parents[2]
LARGEST = 200_000
"""Bytes of the largest file of an example that is used: what is larger is copied for nothing each time."""
ADAPTER = "adapter_config.json"


class Folder(NamedTuple):
    """A checkpoint in memory."""

    files: Mapping[str, bytes]
    stats: Mapping[str, Stat] = {}
    """Files of which only this is known."""
    label: str = recipe.DEFAULT_LABEL

    @property
    def source(self) -> MemorySource:
        """The folder as the engine takes it."""
        return MemorySource(self.label, self.files, self.stats)


@cache
def sound() -> list[dict[str, bytes]]:
    """Return the sound fixtures as file name → bytes."""
    folders = [path for path in sorted((ROOT / "fixtures/sound").iterdir()) if path.is_dir()]
    return [
        {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        for folder in folders
    ]


def built(example: recipe.Recipe) -> Folder:
    """Return the checkpoint of a recipe."""
    source = recipe.build(example)
    known = source.entries()
    here = [name for name, stat in known.items() if stat.state == "here"]
    content = zip(here, source.read_many([Span(name, 0, None) for name in here]), strict=True)
    rest = {name: stat for name, stat in known.items() if name not in here}
    return Folder({name: data for name, data in content if isinstance(data, bytes)}, rest, source.label)


def examples() -> list[Folder]:
    """Return the examples of all cards, bad ones and good ones, as far as they are small."""
    found = []
    for card in files.read(ROOT / "rules").cards.values():
        parts = card.value["examples"]
        for example in (*parts["bad"], *parts["good"]):
            sizes = [stat.size for stat in recipe.build(example).entries().values() if stat.state == "here"]
            if max(sizes, default=0) < LARGEST:
                found.append(built(example))
    return found


@cache
def folders() -> list[Folder]:
    """Return what is damaged: fixtures, of classes that are described, as often as examples, which are smaller."""
    small = examples()
    whole = [Folder(files) for files in sound()]
    return [*small, *whole * max(1, len(small) // len(whole))]


@cache
def models() -> list[Folder]:
    """Return the whole models that an adapter is checked against."""
    return [Folder(files) for files in sound() if ADAPTER not in files]
