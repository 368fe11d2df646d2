"""Fold hits by cause, and let one cause take over what only follows from it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence

from ..checkpoint.nouns import Checkpoint
from ..loaders.base import Reading
from ..model import MAX_LOCATIONS, SEVERITIES, Facts, Finding, Hit, LoaderOutcome, Location
from ..ruledata import Card
from . import consequences, outcomes, shortened, words

MAX_CAUSES = 1_000
"""Causes of one rule that are kept apart: each becomes a finding, and no reader wants more."""


class _Case:
    """The hits of one cause while they are being collected."""

    def __init__(self, card: Card, hit: Hit) -> None:
        self.card = card
        self.hit = hit
        self.count = hit.count
        self.at: dict[Location, None] = dict.fromkeys(hit.at)
        self.outcomes: dict[str, LoaderOutcome] = {}
        self.guesses: set[str] = set()
        """Targets whose outcome is a row of the card although a model of that loader read the files."""
        self.unread = True


class Judge:
    """Collects hits of all cards over all views, then gives the findings.

    ``from_models``: rules of this run that tell what the models of the loaders say. Where there are none
    (``--select``), the rows of a card that leaves the decision to the models count after all.
    """

    def __init__(self, ckpt: Checkpoint, readings: Sequence[Reading], from_models: Collection[str]) -> None:
        self._ckpt = ckpt
        self._order = {reading.target.label: place for place, reading in enumerate(readings)}
        self._from_models = from_models
        self._cases: dict[str, _Case] = {}
        self._causes: Counter[str] = Counter()

    def add(self, card: Card, hit: Hit, readings: Sequence[Reading]) -> bool:
        """Take in one hit that was found in the view of ``readings``; False when its rule has too many causes."""
        key = fingerprint(card.id, hit.subject, hit.facts)
        case = self._cases.get(key)
        if case is None:
            if self._causes[card.id] >= MAX_CAUSES:
                return False
            self._causes[card.id] += 1
            case = self._cases[key] = _Case(card, hit)
        else:
            # The same cause in other places; another view repeats the same places.
            if any(place not in case.at for place in hit.at):
                case.count += hit.count
            case.at |= dict.fromkeys(hit.at)
        for reading in readings:
            outcome = outcomes.outcome(card, hit, reading, from_models=card.id in self._from_models)
            if outcome is not None:
                if outcome.error:
                    outcome = outcome._replace(error=shortened.text(outcome.error))
                case.outcomes[reading.target.label] = outcome
                if card.decided_by == "model" and self._from_models and not reading.plan.unknown:
                    case.guesses.add(reading.target.label)
        case.unread = not case.outcomes and bool(readings)
        return True

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings, worst severity first, then by rule id and message."""
        found = [finding for key, case in self._cases.items() if (finding := self._finding(key, case))]
        found = [finding for finding in self._folded(found) if not self._is_empty(finding)]
        return tuple(sorted(found, key=_rank))

    def _finding(self, key: str, case: _Case) -> Finding | None:
        every = tuple(sorted(case.outcomes.values(), key=lambda o: self._order.get(o.target.label, 0)))
        severity = outcomes.severity(case.card, every, unread=case.unread)
        if severity is None:
            return None
        card, hit = case.card, shortened.hit(case.hit)
        at = [shortened.location(self._concrete(place)) for place in list(case.at)[:MAX_LOCATIONS]]
        given = words.of_hit(hit, case.count, at)
        return Finding(
            rule=card.id,
            severity=severity,
            message=words.render(card.message, given),
            count=case.count,
            locations=tuple(at),
            facts=hit.facts,
            outcomes=tuple(outcome for outcome in every if outcome.target.label not in case.guesses),
            fix=words.fix(card, hit, given, self._ckpt.label),
            fingerprint=key,
            subject=hit.subject,
        )

    def _folded(self, found: Sequence[Finding]) -> list[Finding]:
        """Put what follows from a cause inside it; the cause takes over the outcomes."""
        cases = self._cases
        rules = {finding.fingerprint: cases[finding.fingerprint].card.yields_to for finding in found}
        scopes = {finding.fingerprint: cases[finding.fingerprint].hit.accounts_for for finding in found}
        causes = consequences.causes(found, rules, scopes)
        groups: dict[str, list[Finding]] = {}
        for finding in found:
            groups.setdefault(causes[finding.fingerprint], []).append(finding)
        return [
            self._with(next(f for f in group if f.fingerprint == key), group) for key, group in groups.items()
        ]

    def _with(self, cause: Finding, group: Sequence[Finding]) -> Finding:
        """Return ``cause`` with the rest of its ``group`` inside, worst first, and their outcomes on it."""
        rest = sorted((finding for finding in group if finding is not cause), key=_rank)
        if not rest:
            return cause
        both, case = cause.outcomes, self._cases[cause.fingerprint]
        excused = {
            item.target.label for item in both if case.card.foreign and item.target.origin == "assumed"
        }
        for finding in rest:
            told = [item for item in finding.outcomes if item.target.label not in excused]
            both = outcomes.worst_of_both(both, told, self._order)
        severity = outcomes.severity(case.card, both, unread=case.unread) or cause.severity
        return cause._replace(outcomes=both, severity=severity, consequences=tuple(rest))

    def _is_empty(self, finding: Finding) -> bool:
        """Whether every loader in scope was modelled and minds nothing of what a card about reading tells."""
        case = self._cases[finding.fingerprint]
        return bool(case.guesses) and case.card.kind == "reading" and not finding.outcomes

    def _concrete(self, location: Location) -> Location:
        """Fill in line and column of a JSON pointer."""
        doc = self._ckpt.docs.get(location.file)
        if location.pointer is None or location.line is not None or doc is None:
            return location
        place = doc.locate(location.pointer)
        return location._replace(line=place[0], column=place[1]) if place else location


def _rank(finding: Finding) -> tuple[int, str, str]:
    return SEVERITIES.index(finding.severity), finding.rule, finding.message


def fingerprint(rule: str, subject: str, facts: Facts) -> str:
    """Return the identity of a cause: rule, name template and facts; no file, directory or wording."""
    text = json.dumps([rule, subject, sorted(facts.items())], separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
