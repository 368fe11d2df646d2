"""The nouns every layer speaks. Standard library only; nothing here does I/O or decides anything.

Values move one way: Source → Checkpoint → Reading → Hit → Finding → Report. The types on the hot path are
NamedTuples: creating 25 frozen dataclasses costs 26 ms at start-up, these cost next to nothing.
"""

from __future__ import annotations

from .edits import (
    DirRename,
    Edit,
    FileDrop,
    FileMove,
    FileWrite,
    Fix,
    JsonDrop,
    JsonSet,
    MetaSet,
    TensorRename,
    TensorView,
)
from .findings import Crash, Finding, Hit, LoaderOutcome, Location, Skip, Suppressed
from .report import Aspect, BytesRead, CheckpointError, Report, Unchanged, Verdict
from .target import Target
from .words import (
    MAX_LOCATIONS,
    OUTCOMES,
    SEVERITIES,
    Evidence,
    Fact,
    Facts,
    Origin,
    Outcome,
    Safety,
    Scalar,
    Severity,
    SkipKind,
    worst,
)

__all__ = [
    "MAX_LOCATIONS",
    "OUTCOMES",
    "SEVERITIES",
    "Aspect",
    "BytesRead",
    "CheckpointError",
    "Crash",
    "DirRename",
    "Edit",
    "Evidence",
    "Fact",
    "Facts",
    "FileDrop",
    "FileMove",
    "FileWrite",
    "Finding",
    "Fix",
    "Hit",
    "JsonDrop",
    "JsonSet",
    "LoaderOutcome",
    "Location",
    "MetaSet",
    "Origin",
    "Outcome",
    "Report",
    "Safety",
    "Scalar",
    "Severity",
    "Skip",
    "SkipKind",
    "Suppressed",
    "Target",
    "TensorRename",
    "TensorView",
    "Unchanged",
    "Verdict",
    "worst",
]
