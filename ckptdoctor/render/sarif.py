"""Report → SARIF 2.1.0, as code-scanning services take it.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .._version import __version__
from ..model import Finding, Location, Report, Suppressed
from . import Page
from .consequences import in_words
from .places import path_of
from .safe import clean, dumps

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "ckptdoctor/v1"
_RELATED = 20
"""Further places told per finding; count says how many there are."""


def render(reports: Sequence[Report], page: Page) -> str:
    """Return one log with one run over all checkpoints; ASCII, so no control character leaves."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(reports, page)]}
    return dumps(log)


def _run(reports: Sequence[Report], page: Page) -> dict[str, Any]:
    found: list[tuple[Report, Finding, Suppressed | None]] = []
    for report in reports:
        found += [(report, finding, None) for finding in report.findings]
        found += [(report, item.finding, item) for item in report.suppressed]
    order = {rule: place for place, rule in enumerate(sorted({finding.rule for _, finding, _ in found}))}
    # The standard wants `suppressions` on every result of a run or on none (§3.27.23).
    told = any(item for _, _, item in found)
    results = []
    for report, finding, item in found:
        result = _result(report, finding, order, page)
        if told:
            result["suppressions"] = (
                [{"kind": "external", "justification": _text(item.reason)}] if item else []
            )
        results.append(result)
    driver = {"name": "ckptdoctor", "version": __version__, "semanticVersion": __version__}
    return {
        "tool": {"driver": {**driver, "rules": [_rule(rule, page) for rule in order]}},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(reports)],
        "results": results,
    }


def _rule(rule: str, page: Page) -> dict[str, Any]:
    prose = page.prose(rule)
    summary = str(prose.get("summary") or rule)
    why, fix = (str(prose.get(key) or "").strip() for key in ("why", "how_to_fix"))
    links = prose.get("references")
    see = [f"- <{link}>" for link in links] if isinstance(links, list | tuple) else []
    text = "\n\n".join(filter(None, (why, f"How to fix: {fix}" if fix else "")))
    markdown = "\n\n".join(filter(None, (why, f"**How to fix:** {fix}" if fix else "", "\n".join(see))))
    value: dict[str, Any] = {
        "id": rule,
        "name": "".join(word.capitalize() for word in rule.replace("/", "-").split("-")),
        "shortDescription": {"text": summary},
        "properties": {"tags": [rule.split("/")[0]]},
    }
    if text:
        value |= {"fullDescription": {"text": why or text}, "help": {"text": text, "markdown": markdown}}
    return value


def _result(report: Report, finding: Finding, order: Mapping[str, int], page: Page) -> dict[str, Any]:
    first, *others = finding.locations or (None,)
    inside, told = finding.consequences, in_words(finding)
    outcomes = {item.target.label: item.outcome for item in finding.outcomes}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": order[finding.rule],
        "level": finding.severity,
        "message": {"text": _text(f"{finding.message} ({told})" if told else finding.message)},
        "locations": [_location(report, first, page)],
        "partialFingerprints": {FINGERPRINT: finding.fingerprint},
        "occurrenceCount": finding.count,
        "properties": {
            "checkpoint": clean(report.target),
            "outcomes": outcomes,
            "facts": dict(finding.facts),
            **({"consequences": [clean(f"{i.rule}: {i.message}") for i in inside]} if inside else {}),
        },
    }
    if others:
        result["relatedLocations"] = [
            _location(report, place, page) | {"id": number, "message": {"text": "the same here"}}
            for number, place in enumerate(others[:_RELATED], 1)
        ]
    return result


def _location(report: Report, place: Location | None, page: Page) -> dict[str, Any]:
    path = path_of(report, place, page.base)
    # Code scanning refuses a result without a line, so what lies in binary files is shown on line 1.
    region = {"startLine": (place.line if place else None) or 1}
    if place is not None and place.column is not None:
        region["startColumn"] = place.column
    value: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri(path)}, "region": region}}
    if place is not None and place.tensor:
        value["logicalLocations"] = [{"fullyQualifiedName": clean(place.tensor), "kind": "tensor"}]
    elif place is not None and place.pointer:
        value["logicalLocations"] = [{"fullyQualifiedName": clean(place.pointer), "kind": "member"}]
    return value


def uri(path: str) -> str:
    """Return ``path`` as a URI: relative as it is, an absolute one with its scheme."""
    # Bytes of a file name that are no UTF-8 are kept as they are; a lone surrogate comes from JSON and names no file.
    lone = any(0xD800 <= ord(char) < 0xDC80 or 0xDD00 <= ord(char) <= 0xDFFF for char in path)
    quoted = quote(path.encode("utf-8", "surrogatepass" if lone else "surrogateescape"), safe="/")
    return (
        f"file://{'' if path.startswith('/') else '/'}{quoted}"
        if path[:1] == "/" or path[1:2] == ":"
        else quoted
    )


def _text(text: str) -> str:
    """Return a plain text message: a name in it is no link (§3.11.6: ``[text](target)``)."""
    return clean(text).replace("](", "] (")


def _invocation(reports: Sequence[Report]) -> dict[str, Any]:
    notes = [("error", f"{crash.rule} crashed: {crash.error}") for r in reports for crash in r.crashes]
    notes += [("error", f"{r.target}: {r.nothing}") for r in reports if r.nothing]
    whole = not notes
    notes += [
        ("warning", f"{skip.rule} could not look: {skip.reason}")
        for report in reports
        for skip in report.skips
        if skip.kind == "blind"
    ]
    told = [{"level": level, "message": {"text": _text(text)}} for level, text in notes]
    return {"executionSuccessful": whole, "toolExecutionNotifications": told}
