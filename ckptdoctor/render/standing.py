"""How it stands: the headline of the closing line, for one checkpoint or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..model import SEVERITIES, Report
from ..model.words import amount
from .layout import SEVERITY_STYLE


def standing(reports: Sequence[Report]) -> tuple[str, str]:
    """Return style and text; "Sound" only where every verdict is ``ok`` and nothing was accepted by a baseline."""
    style, parts = _found(reports)
    crashes = sum(len(report.crashes) for report in reports)
    unread = _unread(reports)
    if any(report.unchanged for report in reports) and not crashes and not unread:
        return style, _between_versions(reports, parts)
    if parts or crashes:
        told = [*parts, f"{crashes} crashed"] if crashes else parts
        return "bad" if crashes else style, ", ".join(told)
    return unread or _clean(reports)


def _found(reports: Sequence[Report]) -> tuple[str, list[str]]:
    """Return the style of the worst severity, and how many findings there are of each."""
    counts = Counter(finding.severity for report in reports for finding in report.findings)
    severities = [severity for severity in SEVERITIES if counts[severity]]
    style = SEVERITY_STYLE[severities[0]] if severities else "ok"
    return style, [amount(counts[severity], severity) for severity in severities]


def _unread(reports: Sequence[Report]) -> tuple[str, str] | None:
    """Return what is said where nothing was found because something could not be read."""
    if reports and all(report.nothing for report in reports):
        return "warn", "No verdict"
    blind = any(skip.kind == "blind" for report in reports for skip in report.skips)
    if blind or any(report.nothing for report in reports):
        return "warn", "Nothing wrong in what could be read"
    return None


def _between_versions(reports: Sequence[Report], parts: Sequence[str]) -> str:
    found = sum(len(report.findings) for report in reports)
    same = sum(report.unchanged.findings for report in reports if report.unchanged)
    text = f"{', '.join(parts) or 'No finding'} differ{'s' if found <= 1 else ''} between versions"
    return text + (f", {same} the same" if same else "")


def _clean(reports: Sequence[Report]) -> tuple[str, str]:
    accepted = sum(len(report.suppressed) for report in reports)
    outcomes = {verdict.outcome for report in reports for verdict in report.verdicts}
    if outcomes - {"ok", "unknown"}:
        return "info", f"Nothing new, {accepted} accepted"
    text = "Nothing found, not everything judged" if "unknown" in outcomes else "Sound"
    if accepted:
        text = f"Nothing new, {accepted} accepted"
    return ("ok" if text == "Sound" else "info"), text
