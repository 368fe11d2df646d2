"""Where the bytes of a checkpoint come from."""

from __future__ import annotations

import os

from .base import Source
from .local import LocalSource
from .single import SingleSource

__all__ = ["SourceError", "open_source"]


class SourceError(OSError):
    """What was named is no checkpoint that can be opened."""


def open_source(path: str | os.PathLike[str]) -> Source:
    """Return the source for a local directory or one ``.safetensors`` file.

    Raises SourceError, with a message for the user, for anything else. Never touches the network.
    """
    text = os.fspath(path)
    if os.path.isdir(text):
        return LocalSource(text)
    if not os.path.lexists(text):
        raise SourceError(f"{text}: no such file or directory")
    if text.endswith(".safetensors"):
        return SingleSource(text)
    raise SourceError(f"{text}: neither a directory nor a .safetensors file")
