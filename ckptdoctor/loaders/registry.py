"""From a loader's name to its model. What is a loader is said in one place, ``rules/loaders/``.

A YAML there goes with a module of its name here, ``ckptdoctor.loaders.<name>``, which has an object called ``LOADER``.
Where the YAML says ``model: cited`` there is no module of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from .base import Data, Loader


def model(name: str, data: Data) -> Loader:
    """Return the model of loader ``name``, imported on first use. Raises LookupError where there is none."""
    module = data.get("model", name)
    try:
        found = import_module(f"{__package__}.{module}").LOADER
    except (ModuleNotFoundError, AttributeError) as error:
        raise LookupError(
            f"rules/loaders/{name}.yaml expects {__package__}.{module} to have a LOADER ({error})"
        ) from error
    if not isinstance(found, Loader):
        raise LookupError(f"LOADER of {__package__}.{module} is no Loader, got {type(found).__name__}")
    return found


def models(loaders: Mapping[str, Data]) -> Iterator[tuple[Loader, Data]]:
    """Yield every loader of the rulebook with what is known of it."""
    for name, data in loaders.items():
        yield model(name, data), data
