"""What a checkpoint is checked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .words import Origin, Scalar


class Target(NamedTuple):
    """One loader at one version, as the user runs it."""

    loader: str
    """``transformers``, ``vllm``, ``unsloth``, ``peft``, …"""
    versions: Mapping[str, str]
    """Package → version, the loader itself included."""
    options: Mapping[str, Scalar] = {}
    """Load options such as ``load_in_4bit``, ``fast_inference``, ``tp``."""
    device: str = "any"
    origin: Origin = "requested"
    sweep: str = ""
    """The ``--for`` text with a range of versions (``vllm==*``) that this target is one release of, else empty."""

    @property
    def version(self) -> str:
        """Version of the loader package itself (empty when the model of that loader has no versions)."""
        return self.versions.get(self.loader, "")

    @property
    def label(self) -> str:
        """``vllm==0.32.0,vllm-bnb-plugin==0.0.3,tp=2``: canonical, unique in a run, accepted by ``--for``."""
        packages = [f"{self.loader}=={self.version}"] if self.version else [self.loader]
        packages += [f"{name}=={version}" for name, version in self.versions.items() if name != self.loader]
        packages += [f"{key}={str(value).lower()}" for key, value in self.options.items()]
        return ",".join(packages)
