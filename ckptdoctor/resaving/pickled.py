"""Files of ``torch.save`` as tensors to be written: read in a process of its own, with limits, and not believed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

from ..checkpoint.dtypes import BITS
from ..checkpoint.nouns import Checkpoint
from ..model.words import amount
from ..sources.base import Unavailable
from ..sources.local import LocalSource
from ..sources.single import SingleSource
from .layout import joined
from .nouns import Chosen, Piece, ResaveError, Tensor
from .opcodes import MAX_NAME

MEMORY = 2 * 1024**3
"""Bytes that the reading process may have."""
SECONDS = 120
"""Seconds of CPU that it may take for one file, and of waiting for it."""
_ANSWER = 512 * 1024 * 1024
_INDEX = "pytorch_model.bin.index.json"
_ENDINGS = (".bin", ".pt", ".pth")
_STATE = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|.*_states$|.*optim_).*"
)
"""What trainers keep beside a model: no weights of it."""
_PARTS = re.compile(r".+-\d+-of-\d+\.bin\Z")


def files_of(ckpt: Checkpoint) -> tuple[str, ...]:
    """Return the pickles that make up the model, empty where there are none. Raises ResaveError where it is unclear."""
    index = ckpt.indexes.get(_INDEX)
    if index is not None and index.weight_map:
        absent = [file for file in index.files if file not in ckpt.entries]
        if absent:
            raise ResaveError(f"{absent[0]}: {_INDEX} names it and it is not here; fetch it first")
        return index.files
    found = [name for name in ckpt.entries if _is_weights(name)]
    if "pytorch_model.bin" in found:
        return ("pytorch_model.bin",)
    parts = [name for name in found if _PARTS.fullmatch(name)]
    if not parts and len(found) > 1:
        raise ResaveError(
            f"{', '.join(found[:5])}: which of them is the model is not known; leave the others out"
        )
    return tuple(parts or found)


def _is_weights(name: str) -> bool:
    return "/" not in name and name.endswith(_ENDINGS) and not _STATE.fullmatch(name)


def chosen(
    ckpt: Checkpoint, source: LocalSource | SingleSource, files: tuple[str, ...]
) -> tuple[list[Chosen], list[str]]:
    """Return the tensors of ``files``, and in words what was left out. Raises ResaveError."""
    kept: list[Chosen] = []
    owner: dict[str, str] = {}
    others: list[str] = []
    for file in files:
        answer = _asked(source, file)
        refused = answer.get("refused")
        if refused is not None:
            raise ResaveError(f"{file}: {str(refused)[:500]}")
        tensors = tuple(answered(file, answer, ckpt.entries[file].size))
        for tensor in tensors:
            if owner.setdefault(tensor.name, file) != file:
                raise ResaveError(f"{tensor.name} is in {owner[tensor.name]} and in {file}")
        names = answer.get("others")
        others += [str(name)[:100] for name in names] if isinstance(names, list) else []
        kept.append(Chosen(file, tensors, {}))
    notes = [f"read from {amount(len(files), 'pickle')}; nothing in them was run"]
    if others:
        notes.append(f"{', '.join(others[:5])}: no tensors, left out")
    return kept, notes


def _asked(source: LocalSource | SingleSource, file: str) -> Mapping[str, object]:
    descriptor = source.descriptor(file)
    if isinstance(descriptor, Unavailable):
        raise ResaveError(str(descriptor))
    root = str(Path(__file__).resolve().parent.parent.parent)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from ckptdoctor.resaving.pickled import child; child()"
    )
    command = [sys.executable, "-I", "-c", code, root, str(descriptor)]
    try:
        with subprocess.Popen(
            command,
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
        ) as process:
            try:
                out, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                out = b""
            finally:
                process.kill()
    finally:
        os.close(descriptor)
    try:
        value = json.loads(out) if len(out) <= _ANSWER else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ResaveError(
            f"{file}: could not be read within {MEMORY // 10**6:,} MB and {SECONDS} s; nothing was written"
        )
    return value


def answered(file: str, answer: Mapping[str, object], size: int) -> Iterator[Tensor]:
    """Yield the tensors of an answer about a file of ``size`` bytes, each looked at. Raises ResaveError.

    The process that gave the answer has read hostile input, and is not believed.
    """
    found = answer.get("tensors")
    for entry in found if isinstance(found, list) else ():
        try:
            tensor = _tensor(file, *entry)
        except (TypeError, ValueError) as error:
            raise ResaveError(f"{file}: what its reader said of a tensor is of another form") from error
        inside = all(p.offset >= 0 and p.length >= 0 and p.offset + p.length <= size for p in tensor.pieces)
        if len(tensor.name) > MAX_NAME or not inside:
            raise ResaveError(f"{file}: a tensor lies outside of it")
        if BITS.get(tensor.dtype, 0) * prod(tensor.shape) != 8 * tensor.size:
            raise ResaveError(f"{file}: {tensor.name} has another size than its shape says")
        yield tensor


def _tensor(
    file: str, name: object, dtype: object, shape: list[int], ranges: list[tuple[int, int]]
) -> Tensor:
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise TypeError(name, dtype)
    pieces = joined([Piece(file, int(offset), int(length)) for offset, length in ranges])
    return Tensor(name, dtype, tuple(map(int, shape)), pieces)


def child() -> None:
    """Answer for the file behind the descriptor that the command line names, as JSON on stdout."""
    try:
        import resource

        for what, limit in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS)):
            resource.setrlimit(what, (limit, limit))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    except (ImportError, ValueError, OSError):  # Windows has no such limits
        pass
    from .opcodes import Refused
    from .torchfile import tensors

    answer: dict[str, object]
    try:
        found, others = tensors(int(sys.argv[2]))
        answer = {"tensors": found, "others": others[:100]}
    except Refused as error:
        answer = {"refused": str(error)}
    except (RecursionError, MemoryError):
        answer = {"refused": "reading it takes more than it may"}
    sys.stdout.write(json.dumps(answer))
