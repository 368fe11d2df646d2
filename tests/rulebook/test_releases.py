"""Which releases are known from their source: those that were read, and those between two that say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckptdoctor import ruledata
from ckptdoctor.loaders import facts
from ckptdoctor.model import Target
from ckptdoctor.rulebook import compile, releases
from ckptdoctor.rulebook.document import load
from tests.conftest import ROOT
from tests.observe.paths import OBSERVED
from tests.support.shipped import parse_target

LOADERS = ROOT / "rules" / "loaders"


def loader(read: str, changes: str = "", versions: str = "1.0 1.1 1.2 1.3 2.0") -> dict[str, Any]:
    """Return the compiled data of a toy loader: releases, those that were read, and bounds of its behaviours."""
    table: dict[str, dict[str, Any]] = {version: {"date": "2026-01-01"} for version in versions.split()}
    for version in read.split():
        table[version]["read"] = ["loading"]
    rows = [{"name": bound, "versions": f">={bound}"} for bound in changes.split()]
    value = {"loader": "toy", "releases": {"toy": table}, "behaviour": rows}
    compiled: dict[str, Any] = compile.specs(releases.hot(value))
    return compiled


def known(data: dict[str, Any], *versions: str) -> list[str]:
    """Return those of ``versions``, or of all releases, that are known from their source."""
    asked = versions or tuple(data["releases"]["toy"])
    return [version for version in asked if facts.evidence(data, Target("toy", {"toy": version})) == "source"]


@pytest.mark.parametrize(
    ("read", "changes", "sure"),
    [
        ("1.0 1.3", "", "1.0 1.1 1.2 1.3"),  # between two that say the same
        ("1.0 1.3", "1.2", "1.0 1.3"),  # something changed in between, and nobody looked where
        ("1.0 1.1 1.3", "1.1", "1.0 1.1 1.2 1.3"),  # both sides of the change were read
        ("1.1", "", "1.1"),  # alone
        ("", "", ""),  # listed and no more
        ("1.0 2.0", "2.0", "1.0 2.0"),
    ],
)
def test_at_and_between_releases_that_were_read(read: str, changes: str, sure: str) -> None:
    assert known(loader(read, changes)) == sure.split()


def test_a_release_that_is_only_listed_raises_nothing() -> None:
    before = known(loader("1.0 1.1", versions="1.0 1.1"))
    assert known(loader("1.0 1.1", versions="1.0 1.1 1.2 1.3 2.0")) == before


def test_a_build_that_is_no_release_is_assumed() -> None:
    data = loader("1.0 2.0")
    assert known(data, "1.2", "1.2.1", "1.2+local", "1.3.dev4", "3.0") == ["1.2"]


def test_every_package_of_a_target_counts() -> None:
    """Unsloth's verdict keys on unsloth and unsloth_zoo."""
    data = ruledata.load().loaders["unsloth"]
    versions = {"unsloth": "2026.10.9", "unsloth_zoo": "2026.10.9"}
    assert facts.evidence(data, Target("unsloth", versions)) == "source"
    assert facts.evidence(data, Target("unsloth", {**versions, "unsloth_zoo": "2025.3.12"})) == "assumed"


def test_quantised_formats_are_read_apart() -> None:
    data = ruledata.load().loaders["vllm"]
    target = parse_target("vllm==0.29.0,vllm-bnb-plugin==0.0.3")
    assert facts.evidence(data, target) == "source"
    assert facts.evidence(data, target, "loading", "quantised") == "assumed"


@pytest.mark.parametrize("path", sorted(LOADERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_release_that_ran_has_records(path: Any) -> None:
    recorded = set()
    for file in OBSERVED.glob(f"{path.stem}-*.jsonl"):
        record = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
        recorded |= {(name, version.partition("+")[0]) for name, version in record["versions"].items()}
    for package, table in load(path, path.name).value["releases"].items():
        ran = {version for version, about in table.items() if about.get("ran")}
        assert ran == {version for name, version in recorded if name == package and version in table}, package
