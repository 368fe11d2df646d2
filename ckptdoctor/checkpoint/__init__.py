"""Bytes → Checkpoint. Parses, never judges."""

from __future__ import annotations

from .loading import load

__all__ = ["load"]
