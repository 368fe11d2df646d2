"""Where the compiled rulebook comes from: the files of a wheel, or a source tree's rules compiled into a cache."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from typing import Any

from .cards import RulebookError
from .rulebook import Rulebook, rulebook_from

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGED = os.path.join(_HERE, "_rulebook")
_RULES = os.path.join(os.path.dirname(_HERE), "rules")


@cache
def load() -> Rulebook:
    """Return the compiled rulebook. Raises RulebookError when a source tree's rules cannot be compiled.

    For the command line and the public API, once a run: everything else is given the rulebook it works with.
    """
    return rulebook_from(_read("hot.json"), _read)


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
