"""From hits to findings: fold by cause, resolve outcomes per target, set severity, write the message."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence

from . import ruledata
from .checkpoint.nouns import Checkpoint
from .loaders.base import Reading
from .model import (
    MAX_LOCATIONS,
    SEVERITIES,
    Evidence,
    Fact,
    Facts,
    Finding,
    Fix,
    Hit,
    LoaderOutcome,
    Location,
    Outcome,
    Severity,
    worst,
)

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_BY_OUTCOME: Mapping[Outcome, Severity] = {
    "fails": "error",
    "fails-late": "error",
    "corrupt": "error",
    "wrong-precision": "error",
    "unknown": "note",
}


class _Case:
    """The hits of one cause while they are being collected."""

    def __init__(self, card: ruledata.Card, hit: Hit) -> None:
        self.card = card
        self.hit = hit
        self.count = hit.count
        self.at: dict[Location, None] = dict.fromkeys(hit.at)
        self.outcomes: dict[str, LoaderOutcome] = {}
        self.guesses: set[str] = set()
        """Targets whose outcome is a row of the card although a model of that loader read the files."""
        self.unread = True


class Judge:
    """Collects hits of all cards over all views, then gives the findings."""

    def __init__(
        self,
        ckpt: Checkpoint,
        readings: Sequence[Reading],
        rulebook: ruledata.Rulebook,
        cards: Sequence[ruledata.Card],
    ) -> None:
        self._ckpt = ckpt
        self._order = {reading.target.label: place for place, reading in enumerate(readings)}
        self._rulebook = rulebook
        self._cases: dict[str, _Case] = {}
        self._has_models = any(card.check == "loader.events" for card in cards)

    def add(self, card: ruledata.Card, hit: Hit, readings: Sequence[Reading]) -> None:
        """Take in one hit that was found in the view of ``readings``."""
        key = fingerprint(card.id, hit.subject, hit.facts)
        case = self._cases.get(key)
        if case is None:
            case = self._cases[key] = _Case(card, hit)
        else:
            if set(hit.at) - set(
                case.at
            ):  # the same cause in other places; another view repeats the same places
                case.count += hit.count
            case.at |= dict.fromkeys(hit.at)
        for reading in readings:
            outcome = self._outcome(card, hit, reading)
            if outcome is not None:
                case.outcomes[reading.target.label] = outcome
                if card.params.get("model_decides") and not reading.plan.unknown and self._has_models:
                    case.guesses.add(reading.target.label)
        case.unread = not case.outcomes and bool(readings)

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings, worst severity first, then by rule id and message."""
        found = [finding for key, case in self._cases.items() if (finding := self._finding(key, case))]
        found = [finding for finding in self._merged(found) if not self._is_empty(finding)]
        return tuple(sorted(found, key=lambda f: (SEVERITIES.index(f.severity), f.rule, f.message)))

    def _finding(self, key: str, case: _Case) -> Finding | None:
        outcomes = tuple(sorted(case.outcomes.values(), key=lambda o: self._order.get(o.target.label, 0)))
        severity = self._severity(case, outcomes)
        if severity is None:
            return None
        outcomes = tuple(outcome for outcome in outcomes if outcome.target.label not in case.guesses)
        card, hit = case.card, case.hit
        at = [self._concrete(location) for location in list(case.at)[:MAX_LOCATIONS]]
        return Finding(
            rule=card.id,
            severity=severity,
            message=render(card.message, _words(hit, case.count, at)),
            count=case.count,
            locations=tuple(at),
            facts=hit.facts,
            outcomes=outcomes,
            fix=_fix(card, hit, _words(hit, case.count, at)),
            fingerprint=key,
            subject=hit.subject,
        )

    def _merged(self, found: list[Finding]) -> list[Finding]:
        """Leave out what only follows from a cause that another finding names; the cause takes over its outcomes."""
        kept = {finding.fingerprint: finding for finding in found}
        for finding in found:
            named = self._cases[finding.fingerprint].card.params.get("yields_to")
            causes = named if isinstance(named, list | tuple) else ()
            for other in found if causes else ():
                if other.rule in causes and other.subject in ("", finding.subject):
                    cause = kept[other.fingerprint]
                    outcomes = _worst_of_both(cause.outcomes, finding.outcomes, self._order)
                    severity = self._severity(self._cases[other.fingerprint], outcomes) or cause.severity
                    kept[other.fingerprint] = cause._replace(outcomes=outcomes, severity=severity)
                    kept.pop(finding.fingerprint, None)
                    break
        return list(kept.values())

    def _is_empty(self, finding: Finding) -> bool:
        """Whether every loader in scope was modelled and minds nothing of what a card about reading tells."""
        case = self._cases[finding.fingerprint]
        return bool(case.guesses) and case.card.kind == "reading" and not finding.outcomes

    def _severity(self, case: _Case, outcomes: Sequence[LoaderOutcome]) -> Severity | None:
        if case.card.kind == "reading":
            return _BY_OUTCOME.get(worst([o.outcome for o in outcomes]))
        if case.unread and case.card.severity == "error" and case.card.kind != "policy":
            return "warning"  # nobody in scope opens the file it lies in
        return case.card.severity

    def _outcome(self, card: ruledata.Card, hit: Hit, reading: Reading) -> LoaderOutcome | None:
        if card.kind == "policy":
            return None  # what a house asks for is no loader's business
        target = reading.target
        places = [location.file for location in hit.at if location.file]
        if places and not any(file in reading.plan.files_read for file in places):
            return None
        otherwise = (
            "computed" if card.check == "loader.events" else None
        )  # a model that is silent claims nothing
        rule = card.outcomes.get(target.loader, card.outcomes.get("any", otherwise))
        error: str | None = None
        evidence: Evidence = "assumed"
        if rule == "computed":
            outcome = (hit.outcome or {}).get(target.label)
            if outcome is None:
                return None
            error = (hit.error or {}).get(target.label)
            evidence = (
                "observed" if target.version in card.observed.get(target.loader, ()) else reading.evidence
            )
        else:
            row = ruledata.first_row(rule, target.version, hit.facts)
            outcome = row.outcome if row else "unknown"
            if row is not None:
                error = _error(row.errors[0], _words(hit, hit.count, hit.at)) if row.errors else None
                evidence = "observed" if target.version in row.observed else reading.evidence
        if target.origin == "assumed" and card.params.get("foreign") and outcome != "ok":
            outcome = "unknown"  # what an assumed target cannot read is no fault of the checkpoint
        return LoaderOutcome(target, outcome, error, evidence)

    def _concrete(self, location: Location) -> Location:
        """Fill in line and column of a JSON pointer."""
        doc = self._ckpt.docs.get(location.file)
        if location.pointer is None or location.line is not None or doc is None:
            return location
        place = doc.locate(location.pointer)
        return location._replace(line=place[0], column=place[1]) if place else location


def _worst_of_both(
    first: Sequence[LoaderOutcome], second: Sequence[LoaderOutcome], order: Mapping[str, int]
) -> tuple[LoaderOutcome, ...]:
    """Return for every target the worse outcome of two findings."""
    told = {item.target.label: item for item in first}
    for item in second:
        known = told.get(item.target.label)
        if known is None or worst([known.outcome, item.outcome]) != known.outcome:
            told[item.target.label] = item
    return tuple(sorted(told.values(), key=lambda o: order.get(o.target.label, 0)))


def fingerprint(rule: str, subject: str, facts: Facts) -> str:
    """Return the identity of a cause: rule, name template and facts; no file, directory or wording."""
    text = json.dumps([rule, subject, sorted(facts.items())], separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def render(message: str, words: Mapping[str, Fact]) -> str:
    """Fill ``{name}`` placeholders; an unknown one stays as it is (the rulebook compiler refuses those)."""
    return _PLACEHOLDER.sub(lambda m: _text(words[m[1]]) if m[1] in words else m[0], message)


def _error(text: str, words: Mapping[str, Fact]) -> str:
    """Fill in what is known of a loader's error text; the rest of its placeholders become an ellipsis."""
    return _PLACEHOLDER.sub("…", render(text, words))


def _words(hit: Hit, count: int, at: Sequence[Location]) -> dict[str, Fact]:
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


def _fix(card: ruledata.Card, hit: Hit, words: Mapping[str, Fact]) -> Fix | None:
    """Give a hit's edits the card's title, and the more careful of both opinions on their safety; else a command."""
    if hit.fix is not None and "title" in card.fix:
        unsafe = "unsafe" in (card.fix["safety"], hit.fix.safety)
        title = hit.fix.title or render(card.fix["title"], words)
        return Fix(title, "unsafe" if unsafe else "safe", hit.fix.edits)
    if hit.fix is None and "command" in card.fix:
        quoted = {name: shlex.quote(_text(value)) for name, value in words.items()}
        return Fix(render(card.fix["command"], quoted), "manual")
    return hit.fix
