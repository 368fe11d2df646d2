"""The large checkpoints of ``bench.big``: how each is made, and what a check of it may cost."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
INDEX = "model.safetensors.index.json"


class Case(NamedTuple):
    """One large checkpoint."""

    name: str
    make: Callable[[Path, float], None]
    """Makes it in a new directory, at a fraction of the full size."""
    cpu: float
    """CPU seconds that a check may take."""
    peak: float = 500
    """MB of memory that it may take."""
    floor: bool = False
    """The floor can read it: memory is limited by what that takes."""
    verb: str = "check"
    arguments: tuple[str, ...] = ("--fail-on", "never")


def checkpoint(folder: Path, header: bytes, data: int = 0, name: str = "model.safetensors") -> None:
    """Write a checkpoint of one file (a hole of ``data`` bytes after ``header``) and a config."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + data)
    (folder / "config.json").write_text(json.dumps(CONFIG))


def header(names: Iterable[str]) -> tuple[bytes, int]:
    """Return the sound header of one-element tensors, and the bytes of data it calls for."""
    parts, end = ['{"__metadata__":{"format":"pt"}'], 0
    for name in names:
        parts.append(f'"{name}":{{"dtype":"BF16","shape":[1],"data_offsets":[{end},{end + 2}]}}')
        end += 2
    return ",".join(parts).encode() + b"}", end


def tensors(name: Callable[[int], str]) -> Callable[[Path, float], None]:
    """Return the maker of a million tensors in one header."""

    def make(folder: Path, scale: float) -> None:
        checkpoint(folder, *header(name(number) for number in range(int(1_000_000 * scale))))

    return make


def experts(number: int) -> str:
    """Return names as experts have them: three kinds of module."""
    return f"m.{number // 1000}.e.{number % 1000 // 3}.{'abc'[number % 3]}.weight"


def entries(entry: Callable[[int], str], count: int) -> Callable[[Path, float], None]:
    """Return the maker of a header of ``count`` entries that need not be sound."""

    def make(folder: Path, scale: float) -> None:
        checkpoint(folder, b"{" + ",".join(map(entry, range(int(count * scale)))).encode() + b"}", 16)

    return make


def shape(folder: Path, scale: float) -> None:
    """Make one tensor whose list of dimensions has 100 MB."""
    dims = b"1," * int(49_999_000 * scale)
    checkpoint(folder, b'{"a":{"dtype":"BF16","shape":[' + dims + b'1],"data_offsets":[0,2]}}', 2)


def string(folder: Path, scale: float) -> None:
    """Make one tensor whose name has 100 MB."""
    checkpoint(folder, *header(["n" * int(99_990_000 * scale)]))


def nested(folder: Path, scale: float) -> None:
    """Make a header and a config of brackets within brackets."""
    deep = b"[" * int(2_000_000 * scale)
    checkpoint(folder, b'{"a":' + deep + deep.replace(b"[", b"]") + b"}")
    (folder / "config.json").write_bytes(b'{"a":' + deep + deep.replace(b"[", b"]") + b"}")


def shards(folder: Path, scale: float) -> None:
    """Make four files of 250,000 tensors each, none of them an expert of another."""
    for part in range(4):
        names = (f"m.{number}.e.{part}.weight" for number in range(int(250_000 * scale)))
        checkpoint(folder, *header(names), f"model-{part}.safetensors")


def beside(suffix: str, content: bytes) -> Callable[[Path, float], None]:
    """Return the maker of 100,000 files beside the weights."""

    def make(folder: Path, scale: float) -> None:
        checkpoint(folder, *header(["model.norm.weight"]))
        for number in range(int(100_000 * scale)):
            (folder / f"file-{number}{suffix}").write_bytes(content)

    return make


def document(file: str, text: Callable[[float], Iterator[bytes]]) -> Callable[[Path, float], None]:
    """Return the maker of one large JSON file beside the weights."""

    def make(folder: Path, scale: float) -> None:
        checkpoint(folder, *header(["model.norm.weight"]))
        with (folder / file).open("wb") as out:
            out.writelines(text(scale))

    return make


def repeat(front: bytes, part: bytes, back: bytes, megabytes: float) -> Callable[[float], Iterator[bytes]]:
    """Return a text of about so many MB."""

    def text(scale: float) -> Iterator[bytes]:
        yield front
        for _ in range(100):
            yield part * int(megabytes * scale * 1e4 / len(part))
        yield back

    return text


def numbered(
    front: bytes, part: Callable[[int], str], back: bytes, count: int
) -> Callable[[float], Iterator[bytes]]:
    """Return a text of so many different parts."""

    def text(scale: float) -> Iterator[bytes]:
        yield front
        yield ",".join(map(part, range(int(count * scale)))).encode()
        yield back

    return text


def tree(folder: Path, scale: float) -> None:
    """Make 10,000 checkpoints below one directory."""
    content = header(["model.norm.weight"])
    for number in range(int(10_000 * scale)):
        checkpoint(folder / f"{number // 100}/{number}", *content)


def llama(part: Callable[[int], str], front: str = "") -> Callable[[float], Iterator[bytes]]:
    """Return a config.json of 20 MB whose second half is an object of many members."""
    return numbered(
        f'{{"architectures":["LlamaForCausalLM"],"model_type":"llama",{front}"x":{{'.encode(),
        part,
        b"}}",
        900_000,
    )


DEEP = 900
CASES: tuple[Case, ...] = (
    Case("tensors", tensors(experts), 15, floor=True),
    Case("tensors-flat", tensors("t{}".format), 15, floor=True),
    Case("tensors-modules", tensors("m{}.weight".format), 15, floor=True),
    Case("tensors-fix", tensors(experts), 30, floor=True, verb="fix", arguments=("--dry-run",)),
    Case("tensors-escaped", tensors(lambda n: f"m.{n}.\\u00e9.weight"), 15, floor=True),
    Case("shards", shards, 15, floor=True),
    Case("shape", shape, 5, floor=True),
    Case("string", string, 5, floor=True),
    Case("nested", nested, 5),
    Case("malformed", entries(lambda n: f'"m{n}.weight":{{"dtype":"BF16"}}', 700_000), 15, 1500),
    Case("repeated", entries(
        lambda n: f'"m.weight":{{"dtype":"BF16","shape":[1],"data_offsets":[{n},{n}]}}', 300_000), 15),
    Case("overlap", entries(lambda n: f'"m.{n}.w":{{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}', 300_000), 15),
    Case("tiny", entries(lambda n: "[]", 30_000_000), 5),
    Case("small-members", entries(lambda n: f'"{n}":0', 6_000_000), 15),
    Case("files", beside(".txt", b""), 5),
    Case("files-weights", beside(".safetensors", b""), 15),
    Case("config", document("config.json", repeat(b'{"a":[0', b",0", b"]}", 200)), 5),
    Case("config-string", document("config.json", repeat(b'{"a":"', b"x", b'"}', 60)), 5),
    Case("config-members", document("config.json", llama(lambda n: f'"member{n}":[{n}]')), 2),
    Case("config-repeated", document("config.json", llama(lambda n: f'"member{n}":[{n}]', '"a":1,"a":2,')), 2),
    Case("config-deep-repeated", document("config.json", repeat(
        b'{"a":1,"a":' + b"[" * DEEP + b"0", b",0", b"]" * DEEP + b"}", 9)), 2),
    Case("tokenizer", document("tokenizer.json", repeat(b'{"a":[0', b",0", b"]}", 200)), 5),
    Case("tokenizer_config", document("tokenizer_config.json", repeat(b'{"a":[0', b",0", b"]}", 200)), 5),
    Case("index", document(INDEX, numbered(
        b'{"metadata":{},"weight_map":{', lambda n: f'"m{n}.weight":"model.safetensors"', b"}}", 1_500_000)), 15, 1500),
    Case("findings", entries(
        lambda n: f'"m{n}.weight.absmax":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', 20_000), 5),
    Case("config-name", document("config.json", repeat(b'{"architectures":["', b"x", b'"]}', 20)), 2),
    Case("config-method", document("config.json", repeat(
        b'{"architectures":["LlamaForCausalLM"],"quantization_config":{"quant_method":"', b"x", b'"}}', 20)), 2),
    Case("index-files", document(INDEX, numbered(
        b'{"metadata":{},"weight_map":{', lambda n: f'"m.{n}.weight":"model-{n}.safetensors"', b"}}", 400_000)), 15),
    Case("skips", document("config.json", llama(
        lambda n: f'"m{n}":0', '"quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true,'
        '"llm_int8_skip_modules":[' + ",".join(f'"m{n}"' for n in range(90_000)) + "]},")), 5),
    Case("tree", tree, 60),
)  # fmt: skip
