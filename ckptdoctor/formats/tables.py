"""What the formats say together, as the rulebook holds it: compiled once (``ckptdoctor/rulebook/formats.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..ruledata import Rulebook


class Tables(NamedTuple):
    """All formats of a rulebook."""

    each: Mapping[str, Mapping[str, Any]]
    """Format → what its YAML says."""
    methods: Mapping[str, str]
    """``quant_method`` → format."""
    families: Mapping[str, str]
    """What loaders call some of its schemes → format."""
    spellings: Mapping[str, str]
    """Another spelling of a method → the method."""
    marks: tuple[tuple[frozenset[str], str], ...]
    """Keys that give a block away, and its format; the first that fits counts."""
    unnamed: str
    """The format of blocks without a method and without marks."""
    places: tuple[tuple[str, tuple[str, ...], str], ...]
    """File, keys down to the block, and the method that the place implies ("" for none)."""
    codes: frozenset[str]
    """Leaves that hold codes; all the others explain them."""
    companions: frozenset[str]
    """Leaves that no writer gives to anything but a companion of codes."""
    lone_companions: tuple[Mapping[str, tuple[str, ...]], ...]
    """Leaves (with their dtypes, none: any) that are companions where a module has nothing else."""
    stems: tuple[tuple[str, str], ...]
    """Endings of codes and of scales, where one module holds several sets of them."""
    scales: Mapping[str, str]
    """Scheme with codes called weight → the leaf without which nothing but their dtype is left."""
    unjudged: frozenset[str]
    """Schemes whose roles are not judged."""
    names: frozenset[str]
    """Leaves that belong to the weight of their module, by name…"""
    starts: tuple[str, ...]
    """… and by how they start."""
    endings: tuple[str, ...]
    """Endings that turn a parameter into one part of its quantised form, longest first."""


def tables(rulebook: Rulebook) -> Tables:
    """Return the formats of a rulebook."""
    return rulebook.derived(_built)


def _built(rulebook: Rulebook) -> Tables:
    data = rulebook.formats
    return Tables(
        each=data["each"],
        methods=data["methods"],
        families=data["families"],
        spellings=data["spellings"],
        marks=tuple((frozenset(keys), name) for keys, name in data["marks"]),
        unnamed=data["unnamed"],
        places=tuple((file, tuple(path), method) for file, path, method in data["places"]),
        codes=frozenset(data["codes"]),
        companions=frozenset(data["companions"]),
        lone_companions=tuple(
            {leaf: tuple(dtypes) for leaf, dtypes in row.items()} for row in data["lone_companions"]
        ),
        stems=tuple((codes, scales) for codes, scales in data["stems"]),
        scales=data["scales"],
        unjudged=frozenset(data["unjudged"]),
        names=frozenset(data["names"]),
        starts=tuple(data["starts"]),
        endings=tuple(data["endings"]),
    )
