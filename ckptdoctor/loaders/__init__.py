"""Loader models, a folder or a file per loader; each simulates what that loader does at one version."""

from .registry import model

__all__ = ["model"]
