"""Where the compiled rulebook comes from: the files of a wheel, or a source tree's rules compiled into a cache."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from typing import Any

from .cards import Rulebook, RulebookError, rulebook_from

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGED = os.path.join(_HERE, "_rulebook")
_RULES = os.path.join(os.path.dirname(_HERE), "rules")


def load() -> Rulebook:
    """Return the rulebook in use. Raises RulebookError when a source tree's rules cannot be compiled."""
    return _override or _default()


@contextmanager
def using(rulebook: Rulebook) -> Iterator[None]:
    """Make ``load()`` return ``rulebook`` within the block."""
    global _override
    before, _override = _override, rulebook
    try:
        yield
    finally:
        _override = before


def cold(rule: str) -> Mapping[str, Any]:
    """Return the prose of a rule: summary, why, how_to_fix, since, references, errors, fixable, … .

    Raises KeyError when there is no such rule.
    """
    if _override is not None and rule in _override.prose:
        return _override.prose[rule]
    entry: Mapping[str, Any] = _read("cold.json")[rule]
    return entry


def card_schema() -> Mapping[str, Any]:
    """Return the JSON Schema that a rule card must meet."""
    schema: Mapping[str, Any] = _read("card.schema.json")
    return schema


def patterns() -> list[dict[str, Any]]:
    """Return all cards' error texts as ``{rule, text, loader, known, exception, regex, literal}``, for explain."""
    entries: list[dict[str, Any]] = _read("patterns.json")
    return entries


def environment() -> Mapping[str, Any]:
    """Return which versions of packages go together: packages, breaks, for_checkpoints, requirements."""
    data: Mapping[str, Any] = _read("environment.json")
    return data


def architecture(class_name: str) -> Mapping[str, Any] | None:
    """Return what is known of a model class such as ``LlamaForCausalLM``, None when nothing is."""
    # It comes from a hostile config.json and becomes a file name.
    if not class_name.isidentifier() or len(class_name) > 100:
        return None
    entry: Mapping[str, Any] | None = _read(f"architectures/{class_name}.json")
    return entry


def class_of(model_type: str) -> str:
    """Return the causal language model that ``model_type`` leads to, "" where it is not known."""
    found: str = _read("types.json").get(model_type, "")
    return found


_override: Rulebook | None = None


@cache
def _default() -> Rulebook:
    return rulebook_from(_read("hot.json"))


@cache
def _read(name: str) -> Any:
    folder = _folder()
    if isinstance(folder, dict):
        text = folder.get(name)
        return None if text is None else json.loads(text)
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


@cache
def _folder() -> str | dict[str, str]:
    """Return the folder of compiled files, or the files themselves when nowhere can be written."""
    if os.path.isfile(os.path.join(_PACKAGED, "hot.json")):
        return _PACKAGED
    if not os.path.isdir(_RULES):
        raise RulebookError(_RULES, None, "this installation has no rulebook; install ckptdoctor again")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    cache = os.path.join(home, "ckptdoctor", "rulebook")
    folder = os.path.join(cache, _listing_key())
    if os.path.isfile(os.path.join(folder, "hot.json")):
        return folder
    # By name, so that the compiler and its YAML parser are no part of the import graph of a run.
    try:
        compiler = importlib.import_module("ckptdoctor.rulebook.compile")
    except ModuleNotFoundError as error:
        why = f"the rules of a source tree are compiled with {error.name}: pip install 'ckptdoctor[rules]'"
        raise RulebookError(_RULES, None, why) from error
    files: dict[str, str] = compiler.compile_rules(_RULES)
    try:
        compiler.store(files, folder)
    except OSError:
        return files
    return folder


def _listing_key() -> str:
    """Digest of name, size and time of every rule file and of the compiler itself."""
    digest = sha256()
    for top in (_RULES, os.path.join(_HERE, "rulebook")):
        for entry in sorted(_walk(top), key=lambda entry: entry.path):
            stat = entry.stat()
            digest.update(f"{entry.path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _walk(top: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path)
            elif entry.name.endswith((".yaml", ".json", ".py")):
                yield entry
