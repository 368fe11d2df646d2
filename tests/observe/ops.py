"""The operations of a recipe: each changes one checkpoint directory in place, as an accident would.

An operation that finds nothing to change raises, so that a recipe cannot silently stop testing something.
Operations on tensors rewrite the shard and leave the index alone; `rebuild-index` is an operation of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.observe import jsonops, tensorops
from tests.observe.container import Shard, Tensor, read_shard, write_shard
from tests.observe.paths import SOUND
from tests.observe.shards import matching, rebuild_index, rewrite, shard_files


def drop_tensor(directory: Path, names: str | list[str]) -> None:
    """Remove the tensors that match a glob, or any of several."""
    for pattern in [names] if isinstance(names, str) else names:
        for path, shard, found in matching(directory, pattern):
            write_shard(
                path, Shard(shard.metadata, {k: t for k, t in shard.tensors.items() if k not in found})
            )


def rename_tensor(directory: Path, args: dict[str, str]) -> None:
    """Rename by regular expression: `from` is searched in each name, `to` replaces it."""
    changed = 0
    for path in shard_files(directory):
        shard = read_shard(path)
        tensors = {re.sub(args["from"], args["to"], name): tensor for name, tensor in shard.tensors.items()}
        if list(tensors) != list(shard.tensors):
            changed += 1
            write_shard(path, Shard(shard.metadata, tensors))
    if not changed:
        raise LookupError(f"no tensor is called {args['from']}")


def set_tensor(directory: Path, args: dict[str, Any]) -> None:
    """Write one tensor literally: `name`, `dtype`, `shape`, `values` or `json`; in `file`, else the first."""
    path = directory / args["file"] if "file" in args else shard_files(directory)[0]
    shard = read_shard(path)
    write_shard(path, Shard(shard.metadata, {**shard.tensors, args["name"]: tensorops.literal(args)}))


def copy_tensor(directory: Path, args: dict[str, str]) -> None:
    """Store every tensor matching the expression `from` a second time, under `to`, in `file` or its own."""
    for path, shard, found in matching(directory, args["from"], regex=True):
        target = directory / args.get("file", path.name)
        copies = {re.sub(args["from"], args.get("to", r"\g<0>"), name): shard.tensors[name] for name in found}
        into = read_shard(target) if target.exists() else Shard(shard.metadata, {})
        write_shard(target, Shard(into.metadata, {**into.tensors, **copies}))


def move_tensor(directory: Path, args: dict[str, str]) -> None:
    """Move the tensors that match the glob `name` into the shard `to`, which may be a new one."""
    target = directory / args["to"]
    for path, shard, found in matching(directory, args["name"]):
        write_shard(path, Shard(shard.metadata, {k: t for k, t in shard.tensors.items() if k not in found}))
        into = read_shard(target) if target.exists() else Shard(shard.metadata, {})
        write_shard(target, Shard(into.metadata, {**into.tensors, **{k: shard.tensors[k] for k in found}}))


def each_tensor(change: Callable[[Tensor, dict[str, Any]], Tensor]) -> Callable[[Path, dict[str, Any]], None]:
    """An operation that maps `change` over the tensors which match the glob `name`."""

    def operation(directory: Path, args: dict[str, Any]) -> None:
        rewrite(directory, args["name"], lambda name, tensor: {name: change(tensor, args)})

    return operation


def quantize_nf4(directory: Path, args: dict[str, Any]) -> None:
    """Store the weights that match the glob `name` as bitsandbytes NF4, without double quantisation."""
    rewrite(directory, args["name"], tensorops.nf4)


def quantize_int8(directory: Path, args: dict[str, Any]) -> None:
    """Store the weights that match the glob `name` as bitsandbytes LLM.int8."""
    rewrite(directory, args["name"], tensorops.int8)


def quant_state(directory: Path, args: dict[str, Any]) -> None:
    """Edit the JSON inside the quant_state tensors of the weights matching `name`: `set` and `drop`."""
    pattern = args["name"] + ".quant_state.*"
    rewrite(directory, pattern, lambda name, tensor: {name: tensorops.edited_json(tensor, args)})


def merge(directory: Path, args: dict[str, str]) -> None:
    """Take the tensors that match the glob `name` from the sound fixture `from`, into `file` or in place."""
    taken = {
        n: shard.tensors[n] for _, shard, found in matching(SOUND / args["from"], args["name"]) for n in found
    }
    files = shard_files(directory)
    for path in [directory / args["file"]] if "file" in args else files:
        shard = read_shard(path) if path.exists() else Shard({"format": "pt"}, {})
        here = {
            n: t
            for n, t in taken.items()
            if n in shard.tensors or path.name == args.get("file", files[0].name)
        }
        write_shard(path, Shard(shard.metadata, {**shard.tensors, **here}))


def shard(directory: Path, args: dict[str, Any]) -> None:
    """Split the only weight file into `into` shards of equal tensor count, with an index; `name` formats them."""
    (path,) = shard_files(directory)
    whole = read_shard(path)
    path.unlink()
    count, names = args["into"], list(whole.tensors)
    size = -(-len(names) // count)
    for number in range(count):
        part = {name: whole.tensors[name] for name in names[number * size : (number + 1) * size]}
        label = args.get("name", "model-{n:05d}-of-{count:05d}.safetensors")
        file = label.format(n=number + args.get("first", 1), count=count)
        write_shard(directory / file, Shard(whole.metadata, part))
    rebuild_index(directory)


def unshard(directory: Path, args: dict[str, Any]) -> None:
    """Join all shards into `file` (model.safetensors); with `keep`, the shards and the index stay too."""
    files = shard_files(directory)
    tensors = {name: tensor for path in files for name, tensor in read_shard(path).tensors.items()}
    if not args.get("keep"):
        for path in [*files, *directory.glob("*.index.json")]:
            path.unlink()
    write_shard(directory / args.get("file", "model.safetensors"), Shard({"format": "pt"}, tensors))


def metadata(directory: Path, args: dict[str, str] | None) -> None:
    """Replace the `__metadata__` of every shard; null takes it away."""
    for path in shard_files(directory):
        write_shard(path, Shard(args, read_shard(path).tensors))


def write_file(directory: Path, args: dict[str, str]) -> None:
    """Write the file `file` with exactly the bytes of `text`, given as UTF-8, or of `hex`."""
    path = directory / args["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes.fromhex(args["hex"]) if "hex" in args else args["text"].encode())


def drop_file(directory: Path, name: str) -> None:
    """Delete one file."""
    (directory / name).unlink()


def rename_file(directory: Path, args: dict[str, str]) -> None:
    """Rename one file, into a folder if need be."""
    (directory / args["to"]).parent.mkdir(parents=True, exist_ok=True)
    (directory / args["from"]).rename(directory / args["to"])


def copy_file(directory: Path, args: dict[str, str]) -> None:
    """Copy one file of this checkpoint, or of the sound fixture `fixture`."""
    source = SOUND / args["fixture"] if "fixture" in args else directory
    (directory / args["to"]).parent.mkdir(parents=True, exist_ok=True)
    (directory / args["to"]).write_bytes((source / args["from"]).read_bytes())


def link_file(directory: Path, args: dict[str, str]) -> None:
    """Move one file to `to` and leave a relative symbolic link to it, as a Hub cache does."""
    rename_file(directory, args)
    (directory / args["from"]).symlink_to(
        os.path.relpath(directory / args["to"], (directory / args["from"]).parent)
    )


def truncate(directory: Path, args: dict[str, Any]) -> None:
    """Cut the file `file` to `to` bytes, or take `by` bytes off its end."""
    path = directory / args["file"]
    os.truncate(path, args["to"] if "to" in args else path.stat().st_size - args["by"])


def append(directory: Path, args: dict[str, str]) -> None:
    """Append `text` to the file `file`."""
    with (directory / args["file"]).open("ab") as file:
        file.write(args["text"].encode())


def replace_text(directory: Path, args: dict[str, str]) -> None:
    """Replace bytes in the file `file`: every `old` by `new`, both given as text."""
    path = directory / args["file"]
    old, new = args["old"].encode(), args["new"].encode()
    raw = path.read_bytes()
    if old not in raw:
        raise LookupError(f"{args['file']} does not contain {args['old']!r}")
    path.write_bytes(raw.replace(old, new))


OPERATIONS: dict[str, Callable[[Path, Any], None]] = {
    "drop-tensor": drop_tensor,
    "rename-tensor": rename_tensor,
    "set-tensor": set_tensor,
    "copy-tensor": copy_tensor,
    "move-tensor": move_tensor,
    "cast-tensor": each_tensor(tensorops.cast),
    "view-tensor": each_tensor(tensorops.view),
    "rows-of-tensor": each_tensor(tensorops.rows),
    "fill-tensor": each_tensor(tensorops.filled),
    "transpose-tensor": each_tensor(tensorops.transposed),
    "quantize-nf4": quantize_nf4,
    "quantize-int8": quantize_int8,
    "quant-state": quant_state,
    "merge": merge,
    "shard": shard,
    "unshard": unshard,
    "rebuild-index": lambda directory, _: rebuild_index(directory),
    "metadata": metadata,
    "json-set": jsonops.assign,
    "json-drop": jsonops.drop,
    "write-file": write_file,
    "drop-file": drop_file,
    "rename-file": rename_file,
    "copy-file": copy_file,
    "link-file": link_file,
    "truncate": truncate,
    "append": append,
    "replace-text": replace_text,
}
