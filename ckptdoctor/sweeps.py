"""``--for 'vllm==*'``: a range of versions is one target per known release.

``vllm==*``, ``vllm==0.2*``, ``vllm>=0.27`` and ``vllm>=0.27,<0.30`` choose among the releases in the loader's data.
Each is completed as a bare name is: with the newest plug-ins that fit, unless they are named.
"""

from __future__ import annotations

import re

from .model import Target
from .releases import releases
from .ruledata import Rulebook, holds, parse_version
from .targets import TargetError, complete, parse_target, split

_CLAUSE = re.compile(r"(?P<name>[A-Za-z][\w.\-]*)?\s*(?P<op>>=|<=|!=|==|>|<)\s*(?P<value>[^\s=<>]+)\Z")


def expand(text: str, rulebook: Rulebook) -> tuple[Target, ...]:
    """Return the targets of one ``--for`` text, oldest release first; without a range there is one.

    Raises TargetError when the text cannot be used, or when no known release is in the range.
    """
    first, clauses, others = _clauses(text)
    if not first or not any(found["op"] != "==" or found["value"].endswith("*") for found in clauses):
        return (parse_target(text, rulebook),)
    loader, named = split(",".join([first, *others]), rulebook)
    known = sorted(releases(loader, rulebook), key=parse_version)
    chosen = [v for v in known if all(_holds(c["op"], c["value"], v, text) for c in clauses)]
    if not chosen:
        span = f"{known[0]} to {known[-1]}"
        raise TargetError(f"--for {text}: no known release of {loader} is in that range; known are {span}")
    made = [
        complete(
            loader,
            {**named.versions, loader: version},
            named.options,
            rulebook,
            origin="requested",
            with_plugins=True,
        )
        for version in chosen
    ]
    return tuple(target._replace(sweep=text) for target in made)


def _clauses(text: str) -> tuple[str, list[re.Match[str]], list[str]]:
    """Return the loader that a text begins with, what it says of that loader's version, and its other parts."""
    items = [part.strip() for part in text.split(",") if part.strip()]
    matches = [_CLAUSE.match(item) for item in items]
    first = (matches[0]["name"] if matches[0] else items[0]) if items else ""
    clauses = [found for found in matches if found and (found["name"] or first) == first]
    others = [item for item, found in zip(items[1:], matches[1:], strict=True) if found not in clauses]
    return first, clauses, others


def _holds(sign: str, bound: str, version: str, text: str) -> bool:
    """Whether a release satisfies one clause; ``0.2*`` stands for every version that begins so."""
    if bound.endswith("*"):
        if sign not in ("==", "!="):
            raise TargetError(f"--for {text}: expected a version after {sign}, got {bound!r}")
        return version.startswith(bound.rstrip("*")) is (sign == "==")
    try:
        return holds(((sign, parse_version(bound)),), parse_version(version))
    except ValueError:
        raise TargetError(f"--for {text}: expected a version such as 0.32.0, got {bound!r}") from None
