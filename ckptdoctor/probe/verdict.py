"""What a worker saw → the words of `check`, and whose fault a failure is. Never judged by words in a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from ..model import Outcome

Cause: TypeAlias = Literal["", "checkpoint", "environment", "probe"]


class Seen(NamedTuple):
    """One load, judged."""

    outcome: Outcome
    """``unknown`` where the environment, or the probe, is why there is none."""
    cause: Cause
    """Whose fault it is that the outcome is not ``ok``."""
    reasons: tuple[str, ...]
    """What was seen that is not as it should be: names of one kind each."""


def judge(seen: Mapping[str, Any]) -> Seen:
    """Judge the result of a worker."""
    reasons = tuple(filter(None, (named(what, seen.get(key)) for key, what in _CORRUPT.items())))
    silent: Outcome = "corrupt" if _is_corrupt(seen) else "wrong-precision" if seen.get("otherwise") else "ok"
    stage = seen.get("stage")
    if stage == "probe":
        return Seen("unknown", "probe", reasons)
    if seen.get("exception") is None or (seen.get("environment") and silent != "ok"):
        return Seen(silent, "" if silent == "ok" else "checkpoint", reasons)
    if seen.get("environment"):
        return Seen("unknown", "environment", reasons)
    return Seen("fails-late" if stage == "forward" else "fails", "checkpoint", reasons)


def _is_corrupt(seen: Mapping[str, Any]) -> bool:
    """Whether values are held that are not those of the files."""
    twin = seen.get("twin") or {}
    return bool(
        set(seen.get("never_written") or ()) - set(seen.get("never_read") or ())
        or any(seen.get(key) for key in ("unscaled", "dropped", "differ_from_file"))
        or seen.get("logits_finite") is False
        or twin.get("differ")
        or twin.get("logits_differ")
    )


_CORRUPT = {
    "never_written": "never written",
    "unscaled": "codes taken for weights",
    "dropped": "stored and dropped",
    "differ_from_file": "not the values in the file",
    "otherwise": "held otherwise than stored",
}


def named(what: str, names: object) -> str:
    """``what: a, b``, names that differ in a number only being counted; "" when there are no names."""
    shown = [name if count == 1 else f"{name} x{count}" for name, count in templates(_names(names)).items()]
    return f"{what}: {', '.join(shown)}" if shown else ""


def templates(names: Iterable[str]) -> dict[str, int]:
    """Names with the numbers in them as ``*`` → how many; a name alone of its kind stays as it is."""
    folded: dict[str, list[str]] = {}
    for name in sorted(names):
        folded.setdefault(re.sub(r"\.\d+(?=\.)", ".*", name), []).append(name)
    return {every[0] if len(every) == 1 else key: len(every) for key, every in folded.items()}


def _names(value: object) -> list[str]:
    return [str(name) for name in cast("list[object]", value)] if isinstance(value, list | tuple) else []
