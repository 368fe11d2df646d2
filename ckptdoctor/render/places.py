"""How findings name files to other tools: relative to the repository they run in."""

from __future__ import annotations

import os

from ..model import Location, Report


def path_of(report: Report, place: Location | None, base: str) -> str:
    """Return the POSIX path of ``place`` relative to ``base``, absolute where it lies elsewhere.

    The report of a single file names its places relative to that file's directory. A finding without a place is about
    the checkpoint: its config.json stands in, since tools want a file to put a remark on.
    """
    target = report.target
    folder = os.path.dirname(target) if target.endswith(".safetensors") else target  # noqa: PTH120  # not tidied up
    name = place.file if place is not None and place.file else "config.json"
    path = os.path.normpath(os.path.join(base, folder, *name.split("/")))  # noqa: PTH118
    if base and path.startswith(base.rstrip(os.sep) + os.sep):
        path = os.path.relpath(path, base)
    return path.replace(os.sep, "/")
