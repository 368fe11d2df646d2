"""Where the bytes of a checkpoint come from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .base import Source
from .local import LocalSource
from .single import SingleSource

if TYPE_CHECKING:
    from .hub.names import HubName

__all__ = ["SourceError", "open_source"]


class SourceError(OSError):
    """What was named is no checkpoint that can be opened."""


def open_source(path: str | os.PathLike[str]) -> Source:
    """Return the source for a local directory, one ``.safetensors`` file, or a model on the Hub.

    A text that is no path here but names a model on the Hub (``org/name@revision``, ``hf://…``) is read there, over
    the network; ``sources/hub/names.py`` says which do. Raises OSError, with a message for the user, for anything else.
    """
    text = os.fspath(path)
    if os.path.isdir(text):
        return LocalSource(text)
    if not os.path.lexists(text):
        from .hub.names import hub_name

        name = hub_name(text)
        if name is not None:
            return _on_hub(name)
        raise SourceError(f"{text}: no such file or directory")
    if text.endswith(".safetensors"):
        return SingleSource(text)
    raise SourceError(f"{text}: neither a directory nor a .safetensors file")


def _on_hub(name: HubName) -> Source:
    try:
        from .hub.source import HubSource
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{name.repo}: no such directory here; to read it on the Hub: pip install 'ckptdoctor[hub]'"
        ) from error
    return HubSource(name)
