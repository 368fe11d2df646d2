"""From a quantisation method to what a loader does with its format: ``loaders/<loader>/<format>.py``, if any."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from ...formats import registry
from ...ruledata import Rulebook
from .method import Method


def of(package: str, method: str, rulebook: Rulebook) -> Callable[..., Method] | None:
    """Return ``METHOD`` of the file for a method, or for a family of schemes, in a loader's ``package``.

    Found by name: a ``-`` of the format becomes a ``_``. None where the loader does nothing of its own with it.
    """
    return _named(package, registry.name_of(method, rulebook).replace("-", "_"))


@cache
def _named(package: str, name: str) -> Callable[..., Method] | None:
    place = f"{package}.{name}"
    if not name or find_spec(place) is None:
        return None
    found: Callable[..., Method] = import_module(place).METHOD
    return found
