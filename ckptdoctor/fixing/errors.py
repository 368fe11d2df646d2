"""Why a repair or its undoing could not be done."""

from __future__ import annotations


class FixError(Exception):
    """The directory was left as it was; the message says expected, got and what to do."""
