"""From an error text, a whole traceback or a rule id to the rules that may explain it. Data only, no printing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import Any, NamedTuple

from .pasted import said
from .ruledata import Rulebook

WHOLE = 12
"""A text with fewer letters than this must be the whole message: ``metadata`` is a word of many others."""
MIN_TYPED = 6
"""Letters someone must type for a part of a text to be looked for."""
MIN_SHARE, MIN_WORDS, MIN_LETTERS = 0.6, 3, 19
"""What a query must share with a text to be close: part of its information (rare words count more), words, letters."""

_RAISED = re.compile(r"([A-Z]\w*(?:Error|Exception|Warning)):\s*['\"]*\Z")
_CLASS = re.compile(r"[\w.]*(?:error|exception|warning):?")
_BODY = re.compile(r"^[\w.]*(?:Error|Exception|Warning): *")
_NAMES = re.compile(r"\{[a-z_]+\}")
_WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])|\d+")


class Candidate(NamedTuple):
    """A rule that may explain the text."""

    rule: str
    summary: str = ""
    score: int = 0
    """Letters of the rule's own text found in the query, 0 for a rule id."""
    pattern: str = ""
    """The text of the rule that matched, placeholders included."""
    matched: str = ""
    """The part of the query it matched."""
    loader: str | None = None
    """The loader that raises it, when the card ties the text to one."""
    exact: bool = True
    """False: nothing matched, this is only the closest wording."""


Pattern = Mapping[str, Any]
"""An entry of ``Rulebook.patterns()``."""


class _Found(NamedTuple):
    rank: tuple[float, ...]
    """Greater is better: letters shared first."""
    pattern: Pattern
    matched: str
    exact: bool = True
    end: int = 0
    """Where in the query the match ends."""


def explain(text: str, rulebook: Rulebook, limit: int = 5) -> list[Candidate]:
    """Return the rules that may explain ``text``, the best first; empty when nothing comes near.

    ``text`` is a rule id or its unique ending, an error message with or without its class, or a traceback.
    """
    rules = {card.id: rulebook.prose(card.id) for card in rulebook.cards}
    named = _named(text.strip(), rules)
    found = [Candidate(rule) for rule in named] or search(text, rulebook.patterns())
    return [candidate._replace(summary=rules[candidate.rule]["summary"]) for candidate in found[:limit]]


def search(text: str, patterns: Sequence[Pattern]) -> list[Candidate]:
    """Return a candidate for each rule whose error texts are found in ``text``, the best first.

    Only when none is found: texts of which ``text`` is a part, then texts with much the same rare words.
    """
    query = said(text)
    best: dict[str, _Found] = {}
    for found in (
        _added_up(_matching(query, patterns)) or list(_containing(query, patterns)) or _close(query, patterns)
    ):
        rule = found.pattern["rule"]
        if rule not in best or found.rank > best[rule].rank:
            best[rule] = found
    # Of equals the one with more known threads comes first: it is the likelier accident.
    by_name = sorted(best.values(), key=lambda f: str(f.pattern["rule"]))
    ranked = sorted(by_name, key=lambda f: (f.rank, f.pattern.get("known", 0)), reverse=True)
    return [
        Candidate(
            rule=found.pattern["rule"],
            score=round(found.rank[0]),
            pattern=found.pattern["text"],
            matched=found.matched,
            loader=found.pattern["loader"],
            exact=found.exact,
        )
        for found in ranked
    ]


def _named(text: str, rules: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the rules that ``text`` names: by id, by a former id, by the end of ids."""
    if text in rules:
        return [text]
    former = [rule for rule, prose in rules.items() if text in prose.get("formerly", ())]
    return former or [rule for rule in rules if text and rule.endswith("/" + text)]


def _matching(query: str, patterns: Sequence[Pattern]) -> Iterator[_Found]:
    """Texts found in the query. Rank: letters found, fewer letters left to placeholders, nearer the end."""
    lowered = query.casefold()
    for pattern in patterns:
        if not all(word in lowered for word in _anchors(pattern["text"])):
            continue
        for match in re.finditer(pattern["regex"], query, re.IGNORECASE):
            raised = _RAISED.search(query[max(0, match.start() - 200) : match.start()])
            same = bool(raised and pattern["exception"] and raised[1] == pattern["exception"])
            alone = pattern["literal"] < WHOLE or _is_name(pattern["text"])
            if alone and not _whole(query, match.start(), match.end()):
                continue
            letters = pattern["literal"] + (len(pattern["exception"]) if same else 0)
            yield _Found((letters, -len(match[0]), match.end()), pattern, match[0], end=match.end())


def _added_up(matches: Iterator[_Found]) -> list[_Found]:
    """The best match of each rule, its rank raised by the letters of the rule's other texts found elsewhere.

    A traceback holds several messages (``You set `ignore_mismatched_sizes``` under a table of what mismatched); the
    rule that knows more of them is the likelier one.
    """
    by_rule: dict[str, list[_Found]] = {}
    for found in matches:
        by_rule.setdefault(found.pattern["rule"], []).append(found)
    best = []
    for mine in by_rule.values():
        mine.sort(key=lambda found: found.rank, reverse=True)
        taken: dict[str, _Found] = {}
        for found in mine:
            if found.pattern["text"] not in taken and all(_apart(found, other) for other in taken.values()):
                taken[found.pattern["text"]] = found
        letters = sum(found.rank[0] for found in taken.values())
        best.append(mine[0]._replace(rank=(letters, *mine[0].rank[1:])))
    return best


def _apart(one: _Found, other: _Found) -> bool:
    return one.end <= other.end - len(other.matched) or other.end <= one.end - len(one.matched)


def _is_name(text: str) -> bool:
    """Whether a text is nothing but a name (``KeyError: 'lm_head.weight'``), which sentences about others hold too."""
    return not re.search(r"\s", _BODY.sub("", text).strip())


def _whole(query: str, start: int, end: int) -> bool:
    """Whether query[start:end] is all of a message: a line, or what follows the class of an exception."""
    before = query[query.rfind("\n", 0, start) + 1 : start]
    after = query[end : (query + "\n").index("\n", end)]
    return not after.strip(" '\"`.,)") and (not before.strip(" '\"`") or bool(_RAISED.search(before)))


def _anchors(text: str) -> list[str]:
    """Return words that must be in a query for the pattern of ``text`` to match: a cheap first look."""
    return [word.casefold() for word in re.findall(r"[A-Za-z_]{4,}", _NAMES.sub(" ", _BODY.sub("", text)))]


def _containing(query: str, patterns: Sequence[Pattern]) -> Iterator[_Found]:
    """Texts of which the query is a part (someone typed ``HeaderTooLarge``)."""
    wanted = _plain(query.strip().splitlines()[-1] if query.strip() else "")
    if sum(map(str.isalnum, wanted)) < MIN_TYPED or _CLASS.fullmatch(wanted):
        return
    for pattern in patterns:
        if wanted in _plain(pattern["text"]):
            yield _Found((len(wanted), -len(pattern["text"])), pattern, wanted)


def _plain(text: str) -> str:
    return re.sub(r"[\s'\"`]+", " ", text).strip().casefold()


def _close(query: str, patterns: Sequence[Pattern]) -> list[_Found]:
    """Texts that share most of the query's rare words, for the last line that has any."""
    known = [(pattern, _words(pattern["text"])) for pattern in patterns]
    spread = Counter(word for _, words in known for word in words)
    for line in reversed(query.splitlines()):
        words = _words(line)
        # A word no text has says little: users add words of their own. Others weigh more the rarer they are.
        weight = {word: log(1 + len(known) / spread[word]) if spread[word] else 1.0 for word in words}
        found = []
        for pattern, own in known:
            shared = words & own
            value = sum(weight[word] for word in shared)
            letters = sum(map(len, shared))
            if (
                len(shared) >= MIN_WORDS
                and letters >= MIN_LETTERS
                and value >= MIN_SHARE * sum(weight.values())
            ):
                found.append(_Found((letters, value), pattern, line.strip(), exact=False))
        if found:
            return found
    return []


def _words(text: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in _WORD.findall(_NAMES.sub(" ", text)))
