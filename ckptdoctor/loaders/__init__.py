"""Loader models, one file per loader; each simulates what that loader does at one version."""

from __future__ import annotations

from .base import Loader

CITED = frozenset({"sglang", "tgi", "llama.cpp"})
"""Loaders without a model of their own: what cards cite threads for, else ``unknown``."""


def model(name: str) -> Loader:
    """Return the model of loader ``name`` (imported on first use)."""
    if name == "transformers":
        from .transformers.model import Transformers

        return Transformers()
    if name == "vllm":
        from .vllm.model import Vllm

        return Vllm()
    if name == "unsloth":
        from .unsloth import Unsloth

        return Unsloth()
    if name in CITED:
        from .cited import Cited

        return Cited(name)
    if name == "peft":
        from .peft.model import Peft

        return Peft()
    raise KeyError(name)
