"""One safetensors header: every byte of the file accounted for, or a defect that says which is not.

The checks are those of the reference reader (https://github.com/huggingface/safetensors, ``SafeTensors::read_metadata``
and ``Metadata::validate``) and some it lacks: it accepts repeated names, and so does every JSON library.
"""

from __future__ import annotations

from itertools import chain

from ..model import Location, Scalar
from ..sources import pointer
from .decode import METADATA, Decoded, NotJson, TooLarge, decode, doubtful
from .layout import MAX_RANK, capped, check_layout
from .limits import MAX_NAME, beyond
from .nouns import Defect, Shard
from .sniff import kind

MAX_HEADER = 100_000_000
"""Longest header, in bytes, that the reference reader accepts."""
FORMATS = ("pt", "tf", "flax", "mlx")
_SHOWN = 200
"""Characters that are kept of a text of the metadata."""
PREFIX = 8
"""Bytes of the length field before the header."""


def header_length(head: bytes, size: int) -> int | None:
    """Return the header's length in bytes from the file's first bytes, None when there is none to read."""
    if _prefix_defect(head, size, "") is not None:
        return None
    return int.from_bytes(head[:PREFIX], "little")


def parse(raw: bytes, size: int, name: str, *, fast: bool = False) -> tuple[Shard, list[Defect]]:
    """Parse the first ``8 + N`` bytes (more do no harm) of the file ``name`` of ``size`` bytes.

    ``fast`` decodes with msgspec, which pays above ~2 MB of headers; the result is the same.
    """
    fault = _prefix_defect(raw, size, name)
    if fault is not None:
        return Shard(name, size), [fault]
    length = int.from_bytes(raw[:PREFIX], "little")
    shard = Shard(name, size, length)
    header = raw[PREFIX : PREFIX + length]
    try:
        defects = _read(shard, header, fast)
    except UnicodeDecodeError as error:
        defects = [_defect("header-not-utf8", name, offset=PREFIX + error.start)]
    except RecursionError:
        defects = [_defect("deep-json", name)]
    except TooLarge as error:
        defects = [beyond(name, error.what, error.got, error.limit)]
    except NotJson as error:
        defects = [_defect("header-not-json", name, why=str(error))]
    return shard, defects


def _read(shard: Shard, header: bytes, fast: bool) -> list[Defect]:
    """Fill ``shard`` from its header and return what is wrong."""
    decoded = decode(header, fast=fast)
    if decoded is None:
        return [_defect("header-not-object", shard.name)]
    longest = _longest(decoded)
    if longest > MAX_NAME:
        return [beyond(shard.name, "characters in a tensor's name", longest, MAX_NAME)]
    layout = check_layout(shard, decoded)
    if fast and layout and doubtful(decoded):
        return _read(shard, header, False)
    shard.tensors = decoded.tensors
    shard.metadata = decoded.metadata if isinstance(decoded.metadata, dict) else None
    shard.readable = True
    defects = [*_names(decoded, shard.name), *layout, *_metadata(decoded.metadata, shard.name)]
    if defects:
        shard.tensors = {name: t for name, t in decoded.tensors.items() if len(t.shape) <= MAX_RANK}
    return defects


def _longest(decoded: Decoded) -> int:
    names = chain(decoded.tensors, decoded.malformed, (repeat.name for repeat in decoded.repeated))
    return max(map(len, names), default=0)


_BLANKS = 64
"""Bytes in which a header's brace is looked for."""


def _prefix_defect(head: bytes, size: int, name: str) -> Defect | None:
    """Return why no header can be read, judged by the length field and the first bytes."""
    if size == 0:
        return _defect("empty-file", name)
    stated = pointer.parse(head) if size < pointer.MAX_SIZE else None
    if stated:
        return _defect("lfs-pointer", name, size=stated.size, sha256=stated.sha256)
    length = int.from_bytes(head[:PREFIX], "little")
    # Blanks before the brace load in every reader that was tried, and safetensors tests that they do.
    starts = head[PREFIX : PREFIX + min(length, _BLANKS)].lstrip(b" \t\r\n")[:1] == b"{"
    if size >= PREFIX and PREFIX + length <= size and length <= MAX_HEADER and starts:
        return None
    found = _other_kind(head, size, length, starts)
    if found is not None:
        return _defect("wrong-magic", name, kind=found)
    if size < PREFIX:
        return _defect("header-too-short", name, got=size)
    if PREFIX + length > size:
        return _defect("header-length", name, stated=length, got=size)
    if length > MAX_HEADER:
        return _defect("header-too-large", name, stated=length, limit=MAX_HEADER)
    return _defect("header-start", name, byte=head[PREFIX : PREFIX + 1].hex())


def _other_kind(head: bytes, size: int, length: int, starts: bool) -> str | None:
    """Return what the file is instead of safetensors, ``unknown`` for other text, None where nothing says so."""
    found = None if starts else kind(head[:256])
    if found is None and size > PREFIX and PREFIX + length > size and _printable(head[:PREFIX]):
        return "unknown"
    return found


def _printable(data: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data)


def _names(decoded: Decoded, name: str) -> list[Defect]:
    found = [
        Defect("duplicate-key", Location(name, tensor=None if key == METADATA else key), {"name": key})
        for key in dict.fromkeys(repeat.name for repeat in decoded.repeated)
    ]
    return capped(found)


def _metadata(metadata: object, name: str) -> list[Defect]:
    if metadata is ...:
        return [_defect("metadata-missing", name)]
    if metadata is None:
        return [_defect("metadata-null", name)]
    if not isinstance(metadata, dict):
        return [_defect("metadata-malformed", name, key=None, why="not an object")]
    for key, value in metadata.items():
        if not isinstance(value, str):
            return [_defect("metadata-malformed", name, key=key[:_SHOWN], why="the value is not a string")]
    stated = metadata.get("format")
    if stated not in FORMATS:
        return [_defect("metadata-format", name, format=stated[:_SHOWN] if isinstance(stated, str) else None)]
    return []


def _defect(code: str, name: str, **facts: Scalar) -> Defect:
    return Defect(code, Location(name), facts)
