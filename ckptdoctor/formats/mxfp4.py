"""MXFP4 of gpt-oss: experts in stacks of blocks and scales. Its block states no numbers, for there is one layout."""

from __future__ import annotations

from .base import Format

STEMS = ("gate_up_proj", "down_proj")
"""The parameters of the experts; each is stored as two halves, ``<stem>_blocks`` and ``<stem>_scales``."""
HALVES = ("_blocks", "_scales")

FORMAT = Format
