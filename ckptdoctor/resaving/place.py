"""Where a re-save may go: a directory of its own, made beside the final name and given it in one step at the end."""

from __future__ import annotations

import os
import stat

from .nouns import Plan, ResaveError, ResaveUsage

_SPARE = 16 * 1024 * 1024
"""Bytes left free on the disk beyond those that are written: directories and the file system's own."""


class Place:
    """The paths of one re-save to ``out``."""

    def __init__(self, out: str) -> None:
        self.out = os.path.abspath(out)
        parent, name = os.path.split(self.out)
        self.parent = parent
        self.work = os.path.join(parent, f".{name}.resave")
        """What is not yet whole lies here."""
        self.state = os.path.join(parent, f".{name}.resave.json")
        """The plan that is being carried out."""

    @property
    def begun(self) -> bool:
        """Whether an earlier run left its work."""
        return os.path.lexists(self.work)


def fitting(source: str, out: str) -> Place:
    """Return the place for ``out``. Raises ResaveUsage where it is not empty, is a link, or lies in the source."""
    place = Place(out)
    if os.path.basename(place.out) in ("", ".", ".."):
        raise ResaveUsage(f"{out}: expected the name of a new directory")
    if os.path.islink(place.out):
        raise ResaveUsage(f"{out}: expected a new directory, got a link")
    if os.path.lexists(place.out):
        if not stat.S_ISDIR(os.lstat(place.out).st_mode):
            raise ResaveUsage(f"{out}: expected a new directory, got a file")
        if os.listdir(place.out):
            raise ResaveUsage(f"{out}: expected a new or empty directory; this one has files in it")
    if not os.path.isdir(place.parent):
        raise ResaveUsage(f"{place.parent}: no such directory; make it first")
    if os.path.isdir(source) and _within(os.path.realpath(place.out), os.path.realpath(source)):
        raise ResaveUsage(
            f"{out} lies inside {source}: expected a directory elsewhere, the source is never written to"
        )
    for path in (place.work, place.state):
        if os.path.islink(path):
            raise ResaveUsage(f"{path}: expected what an earlier run left, got a link; remove it")
    return place


def room(place: Place, plan: Plan) -> None:
    """Raise ResaveError unless the disk has room for what is still to be written, and may be written to."""
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise ResaveError(f"{place.parent}: not writable; nothing was written")
    try:
        found = os.statvfs(place.parent)
    except (AttributeError, OSError):  # Windows, some network file systems
        return
    done = 0
    if os.path.isdir(place.work):
        for root, _, files in os.walk(place.work):
            done += sum(os.lstat(os.path.join(root, file)).st_size for file in files)
    needed, free = max(plan.size - done, 0) + _SPARE, found.f_bavail * found.f_frsize
    if needed > free:
        raise ResaveError(
            f"{place.parent}: {needed / 1e9:,.1f} GB are needed and {free / 1e9:,.1f} GB are free; nothing was written"
        )


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
