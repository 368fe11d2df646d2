"""The words of a finding: placeholders of a card filled from the facts of a hit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from ..model import Fact, Fix, Hit, Location
from ..ruledata import Card

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def render(message: str, words: Mapping[str, Fact]) -> str:
    """Fill ``{name}`` placeholders; an unknown one stays as it is (the rulebook compiler refuses those)."""
    return _PLACEHOLDER.sub(lambda m: _text(words[m[1]]) if m[1] in words else m[0], message)


def error(text: str, words: Mapping[str, Fact]) -> str:
    """Fill in what is known of a loader's error text; the rest of its placeholders become an ellipsis."""
    return _PLACEHOLDER.sub("…", render(text, words))


def of_hit(hit: Hit, count: int, at: Sequence[Location]) -> dict[str, Fact]:
    """Return the facts plus what every message may name: subject, module, tensor, file, count."""
    first = at[0] if at else Location("")
    subject = hit.subject
    if count == 1 and "*" in subject and first.tensor:
        subject = _concrete_name(subject, first.tensor)
    given: dict[str, Fact] = {
        "subject": subject,
        "module": subject,
        "tensor": first.tensor or subject,
        "file": first.file,
        "count": count,
    }
    return given | dict(hit.facts)


def fix(card: Card, hit: Hit, words: Mapping[str, Fact], label: str) -> Fix | None:
    """Give a hit's edits the card's title, and the more careful of both opinions on their safety; else a command.

    In a command ``{checkpoint}`` is ``label``, what the user called it, and ``{out}`` a directory beside it.
    """
    if hit.fix is not None and "title" in card.fix:
        unsafe = "unsafe" in (card.fix["safety"], hit.fix.safety)
        title = hit.fix.title or render(card.fix["title"], words)
        return Fix(title, "unsafe" if unsafe else "safe", hit.fix.edits)
    if hit.fix is None and "command" in card.fix:
        place = label.rstrip("/") or label
        given = {**words, "checkpoint": place, "out": f"{place.removesuffix('.safetensors')}-resaved"}
        quoted = {name: shlex.quote(_text(value)) for name, value in given.items()}
        return Fix(render(card.fix["command"], quoted), "manual")
    return hit.fix


def _concrete_name(template: str, tensor: str) -> str:
    """Return the start of ``tensor`` that ``template`` stands for, when it does."""
    parts, names = template.split("."), tensor.split(".")
    if len(names) < len(parts):
        return template
    same = all(p == n or (p == "*" and n.isdigit()) for p, n in zip(parts, names, strict=False))
    return ".".join(names[: len(parts)]) if same else template


def _text(value: Fact) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
