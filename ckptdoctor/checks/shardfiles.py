"""Which files a directory holds: numbered sets without an index, strays, and output that is no checkpoint at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import NamedTuple

from ..checkpoint.nouns import Checkpoint
from ..model import MAX_LOCATIONS, Facts, Hit, Location, Skip
from .base import Context, Params

_PART = re.compile(r"(?P<stem>.+?)[-_](?P<number>\d{1,9})-of-(?P<total>\d{1,9})\.safetensors\Z")
_DOUBLED = re.compile(r".+\.safetensors-\d+-of-\d+\.safetensors\Z")
_FOREIGN = {
    "fsdp": ("*.distcp", "*/*.distcp", "*model_world_size_*_rank_*.pt", "pytorch_model_fsdp*.bin"),
    "deepspeed": ("*zero_pp_rank_*.pt", "*mp_rank_*_model_states.pt", "*bf16_zero_pp_rank_*"),
    "gguf": ("*.gguf", "ggml*.bin"),
    "pickle": ("*.bin", "*.pt", "*.pth", "*.ckpt"),
}
"""What a directory without safetensors files may hold instead; the first kind that is found counts."""
_NO_WEIGHTS = ("training_args.bin", "optimizer.*", "scheduler.*", "scaler.*", "rng_state*", "*/*")
_LISTED = 20


class Part(NamedTuple):
    """A numbered weight file."""

    family: tuple[str, str]
    """What its set has in common: the name before the number, and the total as written."""
    number: int
    total: int


def part(file: str) -> Part | None:
    """Return what ``model-00001-of-00004.safetensors`` says of itself, None for a file without a number."""
    found = _PART.match(file)
    return Part((found["stem"], found["total"]), int(found["number"]), int(found["total"])) if found else None


def no_index(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a model of numbered files, or of several, that has neither an index nor a ``model.safetensors``."""
    ckpt = context.ckpt
    files = _weights(ckpt)
    if (
        ckpt.metadata_only
        or not _is_model(ckpt)
        or _indexed(ckpt)
        or not files
        or "model.safetensors" in files
    ):
        return
    yield Hit({"files": len(files)}, _noted(files))


def number_hole(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield numbered sets without an index of which a number is not there."""
    ckpt = context.ckpt
    if ckpt.metadata_only or not _is_model(ckpt) or _indexed(ckpt):
        return
    sets: dict[tuple[str, str], dict[int, str]] = {}
    for file in _weights(ckpt):
        found = part(file)
        if found is not None:
            sets.setdefault(found.family, {})[found.number] = file
    for (_, stated), numbers in sets.items():
        total = int(stated)
        first, last = (
            (0, max(total - 1, *numbers)) if 0 in numbers else (1, total)
        )  # some writers count from 0
        gone = [*islice((n for n in range(first, last + 1) if n not in numbers), _LISTED)]
        if gone:
            facts: Facts = {"gone": tuple(gone), "total": total, "got": len(numbers)}
            yield Hit(facts, _noted(numbers.values()))


def adapter_beside(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield an adapter's weights in the folder of a model that has no index; ``routed`` with adapter_config.json."""
    ckpt = context.ckpt
    here = ckpt.entries
    if (
        "config.json" in here
        and "adapter_model.safetensors" in here
        and _weights(ckpt)
        and not _indexed(ckpt)
    ):
        yield Hit({"routed": "adapter_config.json" in here}, (Location("adapter_model.safetensors"),))


def consolidated_beside(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield ``consolidated*.safetensors`` in the root beside weights of another name."""
    ckpt = context.ckpt
    found = [file for file in ckpt.shards if fnmatchcase(file, "consolidated*.safetensors")]
    if found and "config.json" in ckpt.entries and set(_weights(ckpt)) - set(found):
        yield Hit({"index": _indexed(ckpt)}, tuple(map(Location, found[:MAX_LOCATIONS])))


def params_only(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield ``params.json`` of a Mistral release beside weights that are not in Mistral's own format."""
    ckpt = context.ckpt
    native = any(fnmatchcase(file.rpartition("/")[2], "consolidated*") for file in ckpt.entries)
    if not native and "params.json" in ckpt.entries and "config.json" in ckpt.entries and _weights(ckpt):
        yield Hit({}, (Location("params.json"),))


def subfolders(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weights below the root of a model that has weights in its root, where no index names them."""
    ckpt = context.ckpt
    named = {file for index in ckpt.indexes.values() for file in index.by_file}
    below = [
        file
        for file in ckpt.entries
        if "/" in file
        and fnmatchcase(file, "*.safetensors")
        and file not in named
        and "consolidated" not in file
    ]
    if below and _weights(ckpt):
        size = sum(ckpt.entries[file].size for file in below)
        yield Hit({"bytes": size}, tuple(map(Location, below[:MAX_LOCATIONS])), count=len(below))


def unfinished(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield what a download that did not end left behind, by the endings that downloaders give it."""
    endings = tuple(map(str, params["endings"])) if isinstance(params["endings"], list | tuple) else ()
    left = [file for file in context.ckpt.entries if "/" not in file and file.endswith(endings)]
    if left:
        yield Hit({}, _noted(left), count=len(left))


def doubled_extension(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield shards called ``model.safetensors-00001-of-00004.safetensors``."""
    for file in context.ckpt.shards:
        if _DOUBLED.match(file):
            yield Hit({}, (Location(file),))


def no_safetensors(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield what lies in the place of weights in a directory without any: the kind ``found`` names, or nothing."""
    ckpt = context.ckpt
    if ckpt.metadata_only or ckpt.shards or ckpt.indexes or _indexed(ckpt):
        return
    kind, files = _instead(ckpt)
    if kind == params["found"] and (kind != "nothing" or _is_model(ckpt)):
        yield Hit({}, _noted(files), count=max(1, len(files)))


def _instead(ckpt: Checkpoint) -> tuple[str, list[str]]:
    for kind, patterns in _FOREIGN.items():
        files = [file for file in ckpt.entries if any(fnmatchcase(file, pattern) for pattern in patterns)]
        if kind == "pickle":
            files = [file for file in files if not any(fnmatchcase(file, pattern) for pattern in _NO_WEIGHTS)]
        if files:
            return kind, files
    return "nothing", []


def _is_model(ckpt: Checkpoint) -> bool:
    """Whether loaders of language models would take this directory for a model of theirs."""
    here = ckpt.entries
    return "config.json" in here and "adapter_config.json" not in here and "_class_name" not in ckpt.config


def _noted(files: Iterable[str]) -> tuple[Location, ...]:
    """Return ``files`` as remarks on the directory: that no loader opens them is the very cause."""
    return tuple(Location("", note=file) for file in islice(files, MAX_LOCATIONS))


def _indexed(ckpt: Checkpoint) -> bool:
    return any(file.endswith(".safetensors.index.json") for file in ckpt.entries)


def _weights(ckpt: Checkpoint) -> list[str]:
    """Return the safetensors files of the root, an adapter's left out."""
    return [file for file in ckpt.shards if "/" not in file and "adapter_model" not in file]
