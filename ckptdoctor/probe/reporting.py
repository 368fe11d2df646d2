"""A load that went otherwise than predicted, as a text for an issue: no path, no token, no value of a weight."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._version import __version__
from .loading import Result
from .workers.stored import opened

_WORD = re.compile(r"[\w.+-]{1,64}")
_PATH = re.compile(r"(?<![\w.])(?:~|[A-Za-z]:)?(?:[\\/][\w.@+-]+){2,}[\\/]?")
_TOKEN = re.compile(
    r"\b(?:hf|ghp|gho|github_pat|sk|glpat|xox[abp])[_-][\w-]{8,}|\b[A-Fa-f0-9]{40,}\b|://[^/\s@]+@"
)
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
MAX_KINDS = 60


def report(result: Result) -> str:
    """Return the text."""
    return "\n".join(_lines(result)) + "\n"


def scrubbed(text: str) -> str:
    """``text`` with what may be a path or a token taken out."""
    return _PATH.sub("<path>", _TOKEN.sub("<token>", text))


def config_of(directory: Path, name: str = "config.json") -> dict[str, Any]:
    """The config in a directory: its numbers, switches and single words; what else it says in texts is left out."""
    try:
        found = json.loads((directory / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return _kept(found) if isinstance(found, dict) else {}


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _kept(item) for key, item in value.items() if not str(key).endswith("name_or_path")}
    if isinstance(value, list):
        return [_kept(item) for item in value]
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) and not _TOKEN.search(value) else "…"
    return value


def _lines(result: Result) -> Iterator[str]:
    predicted, wanted = result.predicted, result.wanted
    yield f"ckptdoctor {__version__}: a load went otherwise than predicted"
    yield f"loader: {', '.join(f'{name} {version}' for name, version in result.versions.items())}"
    yield f"device: {result.device}, as far as: {wanted.until}, options: {json.dumps(dict(wanted.target.options))}"
    yield f"predicted: {predicted.outcome} ({', '.join(predicted.because) or predicted.reason or 'nothing found'})"
    yield f"observed: {result.judged.outcome} at {result.seen.get('stage')}"
    for reason in result.judged.reasons:
        yield f"  {scrubbed(reason)[:500]}"
    if result.exception:
        yield f"raised: {scrubbed(result.exception)[:1000]}"
    for name in ("config.json", "adapter_config.json"):
        if config := config_of(Path(wanted.checkpoint), name):
            yield f"{name}: {json.dumps(config)}"
    yield "tensors:"
    yield from _tensors(Path(wanted.checkpoint))


def _tensors(directory: Path) -> Iterator[str]:
    stored = opened(directory)
    if stored is None:
        yield "  a file cannot be parsed"
        return
    kinds = Counter(
        (_NUMBER.sub(".*", name), entry.dtype, str(list(entry.shape)))
        for name, entry in stored.entries.items()
    )
    for (name, dtype, shape), count in list(kinds.items())[:MAX_KINDS]:
        yield f"  {scrubbed(name)} {dtype} {shape} x{count}"
    if len(kinds) > MAX_KINDS:
        yield f"  and {len(kinds) - MAX_KINDS} more kinds"
