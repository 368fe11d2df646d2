"""How often explain names the cause: ``python -m tests.observe.explained``.

Every exception that a real loader raised on a recorded case, other than those that only this machine causes, is given
to ``explain`` as its traceback ends. A right answer is a rule that the verdict on that case and loader is because of,
or one that tells what follows from it (the text names that one); it has to come first. Loaders print one text for
several causes (``header too large`` for whatever is no safetensors file), so there are two shares: of distinct texts
(names and numbers aside), right where the first rule is a cause recorded for that text; and of the runs, right where it
is the cause of that very run, beside the most that any answer to the text alone could reach. Where we give no verdict
there is no right answer; those runs are counted apart.
Exit 1 when either share is below its bar.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ckptdoctor.probe.workers.limits import is_env
from tests.observe.score import Triple, triples
from tests.support.shipped import explain

BAR = 0.9


class Explained(NamedTuple):
    """One recorded exception beside what explain said about it."""

    case: str
    target: str
    text: str
    because: tuple[str, ...]
    said: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the first answer is a rule that decided the verdict."""
        return self.said[:1] != () and self.said[0] in self.because


class Shares(NamedTuple):
    """How many are right: of the distinct texts, and of the runs, beside the most that is possible there."""

    texts: int
    texts_right: int
    runs: int
    runs_right: int
    runs_possible: int


def explained(found: Iterable[Triple]) -> list[Explained]:
    """Return every recorded exception with what explain makes of it; each text is asked for once."""
    answers: dict[str, tuple[str, ...]] = {}
    rows = []
    for triple in found:
        text = triple.exception
        if text is None or is_env(text) or re.fullmatch(r"\w+:?", text.strip()):
            continue  # a class without a message says nothing
        if text not in answers:
            answers[text] = tuple(candidate.rule for candidate in explain(text))
        rows.append(Explained(triple.case, triple.target, text, triple.causes, answers[text]))
    return rows


def shares(rows: Iterable[Explained]) -> Shares:
    """Count; runs without a verdict are left out."""
    runs = [row for row in rows if row.because]
    possible = sum(
        max(Counter(rule for row in group for rule in set(row.because)).values())
        for group in grouped(runs, lambda row: row.text)
    )
    by_text = grouped(runs, lambda row: masked(row.text))
    right = sum(any(row.right for row in group) for group in by_text)
    return Shares(len(by_text), right, len(runs), sum(row.right for row in runs), possible)


def grouped(rows: Iterable[Explained], key: Callable[[Explained], str]) -> list[list[Explained]]:
    """The rows that have one key, together."""
    groups: dict[str, list[Explained]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def masked(text: str) -> str:
    """A text without the names of tensors and the numbers in it: those of one kind are one text.

    transformers lists what it loaded otherwise in no order, so the lines of a text are compared as a set.
    """
    plain = re.sub(r"\d+", "0", re.sub(r"\b\w+(?:\.\w+){2,}", "x", text))
    return "\n".join(sorted(set(plain.splitlines())))


def describe(row: Explained) -> str:
    """One line about a run whose cause did not come first."""
    places = [place for place, rule in enumerate(row.said, 1) if rule in row.because]
    return (
        f"MISSED: {row.case} [{row.target}] because {', '.join(row.because)};"
        f" said {', '.join(row.said) or 'nothing'}{f' (right one is number {places[0]})' if places else ''}:"
        f" {' '.join(row.text.split())[:200]}"
    )


def main() -> int:
    """Print every miss and the shares, per loader and in all; return the exit status."""
    rows = explained(triples())
    for row in rows:
        if row.because and not row.right:
            print(describe(row))
    print()
    for target in [*sorted({row.target for row in rows}), ""]:
        mine = [row for row in rows if target in ("", row.target)]
        got = shares(mine)
        print(
            f"{target or 'all'}: {got.texts_right} of {got.texts} distinct texts lead to a cause of theirs first"
            f" ({got.texts_right / max(1, got.texts):.1%}); {got.runs_right} of {got.runs} runs to their own"
            f" ({got.runs_right / max(1, got.runs):.1%}, possible {got.runs_possible / max(1, got.runs):.1%});"
            f" {len(mine) - got.runs} without a verdict"
        )
    total = shares(rows)
    return (
        0 if total.texts_right >= BAR * total.texts and total.runs_right >= BAR * total.runs_possible else 1
    )


if __name__ == "__main__":
    sys.exit(main())
