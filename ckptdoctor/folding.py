"""Many versions of one loader → ranges of releases that make the same of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from .model import Evidence, Finding, Report, Target, Unchanged, Verdict

_WEAKEST: tuple[Evidence, ...] = ("assumed", "source", "observed")


class Range(NamedTuple):
    """Releases in a row, of one ``--for`` with a range, whose verdicts say the same."""

    verdicts: tuple[Verdict, ...]
    """Oldest release first; never empty."""

    @property
    def verdict(self) -> Verdict:
        """One of them, to stand for all: the newest, as that is what most people run."""
        return self.verdicts[-1]

    @property
    def evidence(self) -> Evidence:
        """What the least certain of them rests on."""
        return min((v.evidence for v in self.verdicts), key=_WEAKEST.index)

    @property
    def uses(self) -> Mapping[str, tuple[str, str]]:
        """Package that has a say → (first, last) of its versions here."""
        first, last = self.verdicts[0].target.versions, self.verdicts[-1].target.versions
        return {name: (first[name], last[name]) for name in self.verdict.uses}


def ranges(verdicts: Iterable[Verdict]) -> tuple[Range, ...]:
    """Return the ranges of all sweeps, in the order of the targets; verdicts of no sweep are left out."""
    swept = (verdict for verdict in verdicts if verdict.target.sweep)
    return tuple(Range(tuple(same)) for _, same in groupby(swept, key=_same))


def _same(verdict: Verdict) -> tuple[object, ...]:
    """What must be equal within a range. Evidence may vary: which releases were run says nothing about them."""
    told = (verdict.outcome, verdict.precision, verdict.because, verdict.reason, verdict.uses, verdict.needs)
    return (verdict.target.sweep, *told)


def span(first: str, last: str) -> str:
    """Return ``0.28.0 – 0.33.0``, or the one version."""
    return first if first == last else f"{first} – {last}"


def spans(
    chosen: Collection[Target], every: Sequence[Target], single: Callable[[Target], str] | None = None
) -> list[str]:
    """Return what to call ``chosen``: targets of a sweep by unbroken spans of versions, others one by one.

    ``every``: the targets of the whole run, in order, so that a gap can be seen. ``single`` names one that is in no
    sweep, by loader and version if not given.
    """
    labels = {target.label for target in chosen}
    names = []
    for (inside, sweep, _), run in groupby(
        every, key=lambda t: (t.label in labels, t.sweep, "" if t.sweep else t.label)
    ):
        first, *more = run
        if not inside:
            continue
        if sweep or single is None:
            names.append(f"{first.loader} {span(first.version, [first, *more][-1].version)}".strip())
        else:
            names.append(single(first))
    return names


def changed(report: Report) -> Report:
    """Return ``report`` with only the verdicts and findings that differ between the versions of one loader.

    A finding without an outcome for a target does no harm there. Loaders with one target have nothing to differ from.
    """
    groups = _by_loader(report.verdicts)
    several = [[v.target.label for v in group] for group in groups.values() if len(group) > 1]
    kept = tuple(finding for finding in report.findings if any(_differs(finding, g) for g in several))
    moved = {name for name, group in groups.items() if _disagree(group)}
    return report._replace(
        findings=kept,
        verdicts=tuple(v for v in report.verdicts if v.target.loader in moved),
        skips=tuple(skip for skip in report.skips if skip.kind == "blind"),
        unchanged=Unchanged(
            tuple(v for v in report.verdicts if v.target.loader not in moved),
            len(report.findings) - len(kept),
        ),
    )


def _by_loader(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.target.loader, []).append(verdict)
    return groups


def _disagree(verdicts: Iterable[Verdict]) -> bool:
    return len({(verdict.outcome, verdict.precision) for verdict in verdicts}) > 1


def _differs(finding: Finding, labels: Sequence[str]) -> bool:
    outcomes = {item.target.label: item.outcome for item in finding.outcomes}
    return len({outcomes.get(label, "ok") for label in labels}) > 1
