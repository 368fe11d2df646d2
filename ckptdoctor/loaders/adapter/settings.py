"""Values of adapter_config.json that ``LoraConfig`` cannot use: ``PeftConfigMixin.from_peft_type`` of PEFT."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping

from ... import ruledata
from ...model import Fact, Location
from ...skiplists.safe_regex import MAX_LENGTH
from .. import facts
from ..base import Data, Event
from .tensors import CONFIG

Config = Mapping[str, object]
_RANK = "a whole number above 0"
_COMPARED = "TypeError: '<=' not supported between instances of 'str' and 'int'"


def config_events(config: Config, version: str, data: Data) -> Iterator[Event]:
    """Yield values that LoraConfig cannot use, and keys that this release does not know."""
    for key, value, expected, error in values(config):
        details: dict[str, Fact] = {"key": key, "got": json.dumps(value)[:40], "expected": expected}
        yield Event("adapter-value", "fails", details, (Location(CONFIG, f"/{key}"),), error=error)
    if facts.does(data, "unknown-keys-are-dropped", version):
        return
    known = {
        name
        for row in facts.rows(data, "config_keys")
        if ruledata.matches(row["versions"], version)
        for name in row["names"]
    }
    for key in config.keys() - known:
        error = f"TypeError: LoraConfig.__init__() got an unexpected keyword argument '{key[:60]}'"
        since = _first_release(key, data)
        if since:
            at = (Location(CONFIG, f"/{key}"),)
            yield Event("adapter-key-newer", "fails", {"key": key, "since": since}, at, error=error)


def values(config: Config) -> Iterator[tuple[str, object, str, str]]:
    """Yield key, value, what is expected and the error, for each value that PEFT computes with and cannot."""
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)
    if type(rank) is int and rank <= 0:
        error = f"ValueError: `r` should be a positive integer value but the value passed is {rank}"
        yield "r", rank, _RANK, error
    elif not _is_number(rank):
        yield "r", rank, _RANK, _COMPARED
    if not _is_number(alpha):
        yield "lora_alpha", alpha, "a number", "TypeError: unsupported operand type(s) for /"
    ranks = config.get("rank_pattern")
    for value in ranks.values() if isinstance(ranks, dict) else ():
        if not _is_number(value):
            yield "rank_pattern", value, _RANK, _COMPARED
    yield from _target_values(config.get("target_modules"))


def _target_values(targets: object) -> Iterator[tuple[str, object, str, str]]:
    """Yield what cannot pick modules (``check_target_module_exists``)."""
    if isinstance(targets, str):
        error = _regex_error(targets)
        if error:
            yield "target_modules", targets, "a regular expression", error
    elif targets is not None and not isinstance(targets, list):
        yield "target_modules", targets, "a list of names", "TypeError: 'int' object is not iterable"


def _regex_error(text: str) -> str:
    """Return what ``re`` says of an expression, "" where it takes it or it is too long to be tried."""
    if len(text) > MAX_LENGTH:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text)
    except re.error as error:
        return f"error: {error}"
    except (RecursionError, OverflowError):
        return ""
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _first_release(key: str, data: Data) -> str:
    """Return the release that brought a config key, "" for a key that no release knows."""
    known = data.get("releases")
    table = known.get("peft") if isinstance(known, Mapping) else None
    for row in facts.rows(data, "config_keys"):
        if key in row["names"] and isinstance(table, Mapping):
            having = [version for version in table if ruledata.matches(row["versions"], version)]
            return min(having, key=ruledata.parse_version, default="")
    return ""
