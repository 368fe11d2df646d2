"""GGUF files in a directory: what the real writer leaves passes, and hostile ones cost little.

``CKPTDOCTOR_WRITERS`` names an interpreter with the ``gguf`` package; its bytes, as recorded, are always read.
"""

from __future__ import annotations

import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

from ckptdoctor.checkpoint import gguf
from ckptdoctor.sources.memory import MemorySource
from tests.support.shipped import load

STRING, ARRAY, UINT32 = 8, 9, 4


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def header(tensors: int, pairs: list[bytes]) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(pairs)) + b"".join(pairs)


def tensor(name: bytes, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def codes(data: bytes) -> list[str]:
    ckpt = load(MemorySource("model", {"m.gguf": data}, {}))
    return [defect.code for defect in ckpt.defects]


WORDS = [f"token{number}".encode() for number in range(40_000)]
VOCABULARY = (
    text(b"tokenizer.ggml.tokens")
    + struct.pack("<IIQ", ARRAY, STRING, len(WORDS))
    + b"".join(map(text, WORDS))
)
ALIGNED = text(b"general.alignment") + struct.pack("<II", UINT32, 64)


def model() -> bytes:
    """Return a file of two tensors behind a vocabulary longer than what is read at first."""
    front = header(2, [ALIGNED, VOCABULARY])
    front += tensor(b"blk.0.ffn_down.weight", (128, 64), 0, 0) + tensor(
        b"blk.0.ffn_up.weight", (128, 64), 2, 32768
    )
    return front.ljust(-(-len(front) // 64) * 64, b"\0") + bytes(32768 + 128 * 64 // 32 * 18)


WRITTEN = bytes.fromhex(
    "474755460300000002000000000000000400000000000000140000000000000067656e6572616c2e6172636869746563"
    "747572650800000005000000000000006c6c616d6111000000000000006c6c616d612e626c6f636b5f636f756e740400"
    "0000010000001500000000000000746f6b656e697a65722e67676d6c2e746f6b656e7309000000080000000200000000"
    "0000000100000000000000610100000000000000620c0000000000000067656e6572616c2e6e616d6508000000010000"
    "0000000000781500000000000000626c6b2e302e66666e5f646f776e2e77656967687402000000800000000000000040"
    "000000000000000000000000000000000000000800000000000000712e77656967687402000000800000000000000040"
    "00000000000000020000000080"
).ljust(37696, b"\0")
"""What gguf 0.19.0 writes for a llama of two tensors, one F32 and one Q4_0; all its data is zeros."""

SCRIPT = """
import sys, gguf, numpy as np
w = gguf.GGUFWriter(sys.argv[1], "llama")
w.add_uint32("llama.block_count", 1)
w.add_array("tokenizer.ggml.tokens", ["a", "b"])
w.add_string("general.name", "x")
w.add_tensor("blk.0.ffn_down.weight", np.zeros((64, 128), dtype=np.float32))
w.add_tensor("q.weight", np.zeros((64, 72), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
"""


def test_what_the_real_writer_leaves_passes() -> None:
    assert codes(WRITTEN) == []
    assert codes(WRITTEN[:-1]) == ["gguf-truncated"]


@pytest.mark.slow
def test_the_real_writer_still_writes_this(tmp_path: Path) -> None:
    python = os.environ.get("CKPTDOCTOR_WRITERS")
    if not python:
        pytest.skip("CKPTDOCTOR_WRITERS does not name an interpreter with gguf")
    subprocess.run([python, "-c", SCRIPT, str(tmp_path / "m.gguf")], check=True, capture_output=True)
    assert (tmp_path / "m.gguf").read_bytes() == WRITTEN


def test_a_long_header_is_read_to_its_end() -> None:
    data = model()
    assert codes(data) == []
    assert codes(data[:-1]) == ["gguf-truncated"]
    assert codes(data[: gguf._FIRST + 10]) == ["gguf-truncated"]


@pytest.mark.parametrize(
    ("kind", "block", "size"),
    [
        ("Q4_0", 32, 18),
        ("Q8_0", 32, 34),
        ("Q4_K", 256, 144),
        ("Q6_K", 256, 210),
        ("MXFP4", 32, 17),
        ("NVFP4", 64, 36),
    ],
)
def test_block_sizes(kind: str, block: int, size: int) -> None:
    number = {"Q4_0": 2, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14, "MXFP4": 39, "NVFP4": 40}[kind]
    front = header(1, []) + tensor(b"a", (512, 4), number, 0)
    data = front.ljust(-(-len(front) // 32) * 32, b"\0") + bytes(512 * 4 // block * size)
    assert codes(data) == []
    assert codes(data[:-1]) == ["gguf-truncated"]


@pytest.mark.parametrize(
    "data",
    [
        header(2**63, []),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63),
        header(0, [text(b"k") + struct.pack("<IIQ", ARRAY, STRING, 2**62)]),
        header(0, [text(b"k") + struct.pack("<IIQ", ARRAY, 0, 2**62)]),
        header(1, []) + tensor(b"a", (2**62, 2**62, 2**62, 2**62), 0, 2**63),
        header(1, []) + struct.pack("<QI", 2**60, 4) + bytes(40),
        header(1, []) + text(b"a") + struct.pack("<I", 2**31) + bytes(40),
        b"GGUF",
        b"GGUF\x03\0\0\0",
    ],
)
def test_hostile_numbers_are_told_at_once(data: bytes) -> None:
    started = time.perf_counter()
    assert codes(data)
    assert time.perf_counter() - started < 1


def test_many_files_are_read_within_a_budget() -> None:
    data = model()
    files = {f"m{number}.gguf": data[:-1] for number in range(200)}
    ckpt = load(MemorySource("model", files, {}))
    assert 0 < len(ckpt.defects) <= gguf._FILES
    assert ckpt.bytes_read.headers <= gguf._BUDGET
