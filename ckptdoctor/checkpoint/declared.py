"""Every place where a checkpoint declares its quantisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .nouns import Checkpoint, Declared

_PLACES = (
    ("config.json", ("quantization_config",)),
    ("config.json", ("text_config", "quantization_config")),
    ("config.json", ("compression_config",)),
    ("config.json", ("text_config", "compression_config")),
    ("config.json", ("quantization",)),
    ("hf_quant_config.json", ("quantization",)),
    ("quantize_config.json", ()),
    ("quant_config.json", ()),
    ("quanto_qmap.json", ()),
)
"""``quantization_config`` first, as transformers prefers it; ``compression_config`` is its name in old
compressed-tensors files; ``quantization`` is MLX's; the files are those of ModelOpt, AutoGPTQ, AWQ and quanto."""

_OF_FILE = {"quanto_qmap.json": "quanto", "hf_quant_config.json": "modelopt"}
_SPELLINGS = {"compressed_tensors": "compressed-tensors", "bnb": "bitsandbytes"}


def declarations(ckpt: Checkpoint) -> Iterator[Declared]:
    """Yield every quantisation declaration, the one loaders prefer first."""
    for file, path in _PLACES:
        block: object = ckpt.object(file)
        for key in path:
            block = block.get(key) if isinstance(block, dict) else None
        if isinstance(block, dict) and (block or path):
            told = method(block) or _OF_FILE.get(file, "")
            yield Declared(file, "".join(f"/{key}" for key in path), block, told)


def method(block: Mapping[str, object]) -> str:
    """Return the normalised ``quant_method`` of a declaration, "" when it has none."""
    stated = block.get("quant_method")
    if isinstance(stated, str):
        name = stated.strip().lower()
        return _SPELLINGS.get(name, name)
    return ""
