"""Every place where a checkpoint declares its quantisation, and the skip lists in there."""

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
)
"""``quantization_config`` first, as transformers prefers it; ``compression_config`` is its name in old
compressed-tensors files; ``quantization`` is MLX's; the files are those of ModelOpt, AutoGPTQ and AWQ."""

_SKIP_KEYS = (
    "llm_int8_skip_modules",
    "modules_to_not_convert",
    "ignore",
    "ignored_layers",
    "exclude_modules",
    "exclude",
    "skip_modules",
)
_SPELLINGS = {"compressed_tensors": "compressed-tensors", "bnb": "bitsandbytes"}


def declarations(ckpt: Checkpoint) -> Iterator[Declared]:
    """Yield every quantisation declaration, the one loaders prefer first."""
    for file, path in _PLACES:
        block: object = ckpt.object(file)
        for key in path:
            block = block.get(key) if isinstance(block, dict) else None
        if isinstance(block, dict) and (block or path):
            yield Declared(file, "".join(f"/{key}" for key in path), block, method(block))


def method(block: Mapping[str, object]) -> str:
    """Return the normalised ``quant_method`` of a declaration, "" when it has none."""
    stated = block.get("quant_method")
    if isinstance(stated, str):
        name = stated.strip().lower()
        return _SPELLINGS.get(name, name)
    return ""


def skip_list(declared: Declared) -> tuple[str, ...]:
    """Return the modules that a declaration excludes from quantisation, under whichever key its dialect uses."""
    for key in _SKIP_KEYS:
        value = declared.block.get(key)
        if isinstance(value, list):
            return tuple(entry for entry in value if isinstance(entry, str))
    return ()
