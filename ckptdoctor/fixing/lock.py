"""One process at a time in a directory, by a lock on the directory itself: no file is left by it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import FixError


@contextmanager
def locked(root: str) -> Iterator[None]:
    """Hold the directory for one process; the system lets go of it even when the process is killed.

    Where the system has no such lock (Windows, some network file systems) two at once are caught by the files that
    changed after the plan was made.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FixError(f"{root}: {error.strerror or error}; nothing was changed.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FixError(
                f"{root}: another ckptdoctor is writing there; try again when it is done."
            ) from error
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
