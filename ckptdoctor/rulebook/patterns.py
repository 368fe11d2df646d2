"""Error texts with ``{placeholders}`` → regular expressions that recognise what a loader printed."""

from __future__ import annotations

import re
from typing import NamedTuple

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
"""Any other brace is literal, as in the dict that some errors print."""

NAME = r"[\w.\-]{1,300}"
SHAPES = {
    "int": r"-?\d+",
    "size": r"\d+",
    "shape": r"(?:torch\.Size\()?[\[(][\d, ]{0,200}[\])]\)?",
    "module": NAME,
    "tensor": NAME,
    "role": NAME,
    "dtype": r"(?:torch\.)?\w{1,40}",
    "any": r".{1,300}?",
}
"""What a placeholder of that name matches; any other name (a fact) matches like ``any``. All are bounded, so that
a long line costs no quadratic time. ``size`` is the same number wherever a text repeats it."""

_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Warning))(?:: *|\Z)")
_QUOTES = "'\"`‘’“”"
_BETWEEN = re.compile(rf"(\s+|[{_QUOTES}]+|(?<![\w.])\d{{3,}}(?![\w.]))")


TELLING = 4
"""Letters of its own that a text needs to lead anywhere: ``KeyError: '{key}'`` and ``AssertionError`` fit too much."""


class Pattern(NamedTuple):
    """One error text, taken apart."""

    exception: str
    """Class name it starts with, "" when it names none; never required, it only ranks."""
    regex: str
    literal: int
    """Letters and digits that are not placeholders, the class left out."""


def compile_text(text: str) -> Pattern:
    """Return the pattern for one error text: blanks, quotes and long numbers match any of their kind."""
    found = _EXCEPTION.match(text)
    body = text[found.end() :] if found else text
    pieces = []
    seen: set[str] = set()
    end = 0
    for place in PLACEHOLDER.finditer(body):
        shape = SHAPES.get(place[1], SHAPES["any"])
        if place[1] == "size":
            shape = "(?P=size)" if "size" in seen else f"(?P<size>{shape})"
        seen.add(place[1])
        pieces += [_literal(body[end : place.start()]), shape]
        end = place.end()
    pieces.append(_literal(body[end:]))
    return Pattern(
        found[1] if found else "", "".join(pieces), sum(map(str.isalnum, PLACEHOLDER.sub("", body)))
    )


def _literal(text: str) -> str:
    return "".join(_piece(piece) for piece in _BETWEEN.split(text))


def _piece(piece: str) -> str:
    if piece.isspace():
        return r"\s+"
    if piece and not piece.strip(_QUOTES):
        return rf"[{_QUOTES}]*"
    return r"\d+" if piece.isdigit() and len(piece) > 2 else re.escape(piece)
