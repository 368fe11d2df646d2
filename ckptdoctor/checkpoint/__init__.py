"""Bytes → Checkpoint. Parses, never judges."""

from __future__ import annotations

from .load import load

__all__ = ["load"]
