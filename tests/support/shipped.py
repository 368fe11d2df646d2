"""What a run does, by the rulebook that ships: for every test that is not about another rulebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ckptdoctor import checkpoint, engine, releases, ruledata, sweeps, targets
from ckptdoctor import explain as explaining
from ckptdoctor.checkpoint.nouns import Checkpoint
from ckptdoctor.fixing.plan import Planner
from ckptdoctor.memory import asking
from ckptdoctor.model import Report, Target
from ckptdoctor.ruledata import Rulebook
from ckptdoctor.sources.base import Source

RULEBOOK = ruledata.load()


def check_source(
    source: Source, wanted: Sequence[Target], rulebook: Rulebook = RULEBOOK, **options: Any
) -> Report:
    """Check the checkpoint behind ``source``."""
    return engine.check_source(source, wanted, rulebook, **options)


def load(source: Source, rulebook: Rulebook = RULEBOOK, **options: Any) -> Checkpoint:
    """Parse what is known of the checkpoint behind ``source``."""
    return checkpoint.load(source, rulebook, **options)


def ask(source: Source, target: Target) -> asking.Subject:
    """Return the checkpoint behind ``source`` and how ``target`` reads it."""
    return asking.ask(source, target, RULEBOOK)


def parse_target(text: str) -> Target:
    """Return the target that one ``--for`` text names."""
    return targets.parse_target(text, RULEBOOK)


def expand(text: str) -> tuple[Target, ...]:
    """Return the targets of one ``--for`` text."""
    return sweeps.expand(text, RULEBOOK)


def default_targets() -> tuple[Target, ...]:
    """Return the loaders that are judged without asking."""
    return targets.default_targets(RULEBOOK)


def known_releases(package: str) -> Mapping[str, str]:
    """Return version → release date of a package."""
    return releases.releases(package, RULEBOOK)


def newest(package: str) -> str:
    """Return the newest known release of a package."""
    return releases.newest(package, RULEBOOK)


def explain(text: str, limit: int = 5) -> list[explaining.Candidate]:
    """Return the rules that may explain ``text``."""
    return explaining.explain(text, RULEBOOK, limit)


def with_file(name: str, content: object) -> Rulebook:
    """Return the rulebook with another content of one compiled file (``environment.json``)."""
    return RULEBOOK.replace(read=lambda file: content if file == name else RULEBOOK.read(file))


def planner(source: Source, wanted: Sequence[Target], **options: Any) -> Planner:
    """Return what finds the repairs of a checkpoint."""
    return Planner(source, wanted, RULEBOOK, **options)
