"""Put adapters on their base with PEFT: the worker for transformers does just that, this is that worker in its name."""

from __future__ import annotations

from .transformers import observe
from .transformers import start as start_transformers

__all__ = ["observe", "start"]


def start() -> tuple[dict[str, str], str]:
    """The versions, PEFT's first, and the device; ImportError where there is no PEFT."""
    import peft  # noqa: F401

    versions, device = start_transformers()
    return {"peft": versions.pop("peft"), **versions}, device
