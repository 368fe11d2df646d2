"""Version specifiers: PEP 440 text into comparable clauses, and rows that no version can reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..ruledata import Spec, holds, parse_version


class Span(NamedTuple):
    """The part of a row that decides whether it is reached."""

    versions: Spec
    when: Mapping[str, object]


def compile_spec(text: str) -> Spec:
    """Return ``">=0.8.5,<0.28"`` as clauses. Raises ValueError when it is no PEP 440 specifier."""
    try:
        specifiers = SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"not a version specifier: {text!r}") from error
    return tuple(
        clause for part in sorted(specifiers, key=str) for clause in _clauses(part.operator, part.version)
    )


def _clauses(operator: str, version: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    if operator == "===":
        raise ValueError("=== compares text; use ==")
    if version.endswith(".*"):
        if operator == "!=":
            raise ValueError(f"!={version} is two intervals; write two rows")
        bound = parse_version(version[:-2])
        yield ">=", bound
        yield "<", (*bound[:-1], bound[-1] + 1)
    elif operator == "~=":
        bound = parse_version(version)
        yield ">=", bound
        yield "<", (*bound[:-2], bound[-2] + 1)
    else:
        yield operator, parse_version(version)


def spec_keys(mapping: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys of a data row that hold specifiers: ``versions``, and the ``spec`` beside one."""
    return ("versions", "spec") if "versions" in mapping else ()


def unreachable(spans: Sequence[Span]) -> Iterator[tuple[int, str]]:
    """Yield (place, why) for each row that can never decide, rows being tried in order."""
    samples = _samples(spans)
    for place, span in enumerate(spans):
        mine = [sample for sample in samples if holds(span.versions, sample)]
        if not mine:
            yield place, "no version satisfies it"
            continue
        earlier = [other for other in spans[:place] if other.when.items() <= span.when.items()]
        if all(any(holds(other.versions, sample) for other in earlier) for sample in mine):
            yield place, "rows above it already decide every version it names"


def _samples(spans: Sequence[Span]) -> list[tuple[int, ...]]:
    """Return one version below, at and above every bound: between two bounds nothing changes."""
    bounds = {bound + (0,) * (8 - len(bound)) for span in spans for _, bound in span.versions} or {(0,) * 8}
    return [version for bound in sorted(bounds) for version in ((*bound, -1), bound, (*bound, 1))]
