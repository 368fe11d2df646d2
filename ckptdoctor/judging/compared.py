"""What a verdict rests on: which parts of a checkpoint were compared with what its loader needs."""

from __future__ import annotations

from collections.abc import Mapping

from ..checkpoint.nouns import Checkpoint
from ..loaders.base import Reading
from ..model import Aspect

_YES, _NONE = Aspect("yes"), Aspect("not-applicable")
_NEEDED = ("container", "names", "shapes", "quantisation")
"""What an ``ok`` takes; index, config and tokenizer may be left out, and are told."""


def compared(ckpt: Checkpoint, reading: Reading) -> dict[str, Aspect]:
    """Return for every part of the checkpoint whether it was compared for this target."""
    container = _container(ckpt, reading)
    return {
        "container": container,
        "index": _index(ckpt, container),
        "config": _config(ckpt, reading),
        "quantisation": _quantisation(ckpt, reading),
        "names": reading.names,
        "shapes": reading.shapes,
        "tokenizer": Aspect("no", "not looked at yet"),
    }


def unearned(parts: Mapping[str, Aspect]) -> str:
    """Return why ``ok`` cannot be said, "" where it can."""
    lacking = [name for name in _NEEDED if parts[name].state == "no"]
    if not lacking:
        return ""
    done = ", ".join(name for name, part in parts.items() if part.state == "yes") or "nothing"
    return f"sound as far as compared ({done}): {parts[lacking[0]].reason}"


def _container(ckpt: Checkpoint, reading: Reading) -> Aspect:
    files = reading.plan.files
    if not files:
        return Aspect("no", reading.plan.unknown or "no file of weights is here")
    shards = [ckpt.shards.get(name) for name in files]
    absent = sum(shard is None or not shard.readable for shard in shards)
    if absent and ckpt.metadata_only:
        return Aspect("no", "the weights are not here")
    return Aspect("no", f"{absent} of {len(files)} files could not be read") if absent else _YES


def _index(ckpt: Checkpoint, container: Aspect) -> Aspect:
    if not any(name.endswith(".index.json") for name in ckpt.entries):
        return _NONE
    if ckpt.index is None:
        return Aspect("no", "it could not be read")
    return _YES if container.state == "yes" else Aspect("no", "its files could not be read")


def _config(ckpt: Checkpoint, reading: Reading) -> Aspect:
    name = "adapter_config.json" if reading.plan.method == "lora" else "config.json"
    doc = ckpt.docs.get(name)
    if doc is None or doc.value is None:
        return Aspect("no", f"{name} is not here or could not be read")
    return _YES if name in reading.plan.files_read else Aspect("no", "this loader does not open it")


def _quantisation(ckpt: Checkpoint, reading: Reading) -> Aspect:
    view = ckpt.view(reading.plan.files)
    if reading.plan.method in ("", "lora") and not any(s.stored.quantized for s in view.signatures):
        return _NONE
    if reading.plan.unknown or not reading.loaded_as:
        return Aspect("no", reading.plan.unknown or "how its modules are read is not known")
    return _YES
