"""The end of every loader model: the modules as the method reads them, then names and shapes, and what was compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..base import Event, Reading, Run
from .completeness import compared, tensor_events, uncompared
from .method import Method, Read
from .modules import Architecture, all_readable, is_mlx


def loads(run: Run) -> bool:
    """Whether there is anything to read that is modelled."""
    return bool(run.plan.files) and not run.plan.unknown and not is_mlx(run.ckpt)


def by_method(run: Run, known: Architecture, method: Method, further: Iterable[Event] = ()) -> Reading:
    """Return what a loader makes of the planned files under ``method``; ``further`` is what happens after that.

    Names and shapes are compared with what the class asks for, ``known``, unless some file could not be read or the
    method is in doubt; the reading says which it was.
    """
    read = method.read() if loads(run) else Read({}, [], run.plan.unknown)
    complete = loads(run) and all_readable(run.ckpt, run.view) and not read.doubt
    differences = tensor_events(run.view, known, method) if complete else ()
    why = run.plan.unknown or read.doubt or "not every file could be read"
    names, shapes = compared(run.view, known) if complete else uncompared(why)
    events = [*run.plan.events, *read.events, *differences, *further]
    return run.reading(events, read.loaded_as, read.doubt)._replace(names=names, shapes=shapes)


def of_adapter(run: Run, events: Sequence[Event], unknown: str) -> Reading:
    """Return what a loader makes of an adapter; its names and shapes were compared where ``unknown`` is empty."""
    names, shapes = uncompared(unknown)
    return run.reading(events, unknown=unknown)._replace(names=names, shapes=shapes)
