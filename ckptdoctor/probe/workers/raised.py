"""An exception as its traceback shows it: class, text, and what stands above them that names a cause."""

from __future__ import annotations

import traceback

LIMIT = 500


def raised(error: BaseException, text: str) -> dict[str, str]:
    """Return `type`, `text` and, where there is any, `above`: the errors it came from and the assertion that failed."""
    lines = []
    for cause in reversed(list(causes(error))):
        lines += [assertion(cause), f"{type(cause).__name__}: {cause}"[:LIMIT]]
    above = "\n".join(line for line in [*lines, assertion(error)] if line)
    found = {"type": type(error).__name__, "text": text}
    return {**found, "above": above[-2 * LIMIT :]} if above else found


def causes(error: BaseException) -> list[BaseException]:
    """The exceptions that a traceback prints before this one, the nearest first."""
    found: list[BaseException] = []
    while len(found) < 10:
        nearer = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if nearer is None or nearer in found:
            break
        found.append(nearer)
        error = nearer
    return found


def assertion(error: BaseException) -> str:
    """The source line of a failed assertion, as a traceback shows it; nothing for another error."""
    if not isinstance(error, AssertionError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "") if frames else ""
