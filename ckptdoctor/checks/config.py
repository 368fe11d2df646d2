"""config.json and generation_config.json: values of the wrong type, keys that contradict the files beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod

from ..formats.declared import declarations
from ..loaders.shared.modules import DENSE
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params

_CONFIG = "config.json"
_BLOCK = "/quantization_config"


def flag_type(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield bitsandbytes flags that are set and not booleans (transformers insists, BitsAndBytesConfig.post_init)."""
    block = _bnb_block(context)
    for key in ("load_in_4bit", "load_in_8bit"):
        value = block.get(key)
        if value and value is not True:
            facts: dict[str, Fact] = {"key": key, "got": type(value).__name__}
            yield Hit(facts, (Location(_CONFIG, f"{_BLOCK}/{key}"),))


def threshold_type(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if ``llm_int8_threshold`` is a number without a fraction or no number at all."""
    block = _bnb_block(context)
    value = block.get("llm_int8_threshold", 6.0)
    if not isinstance(value, float) and (block.get("load_in_4bit") or block.get("load_in_8bit")):
        yield Hit({"got": type(value).__name__}, (Location(_CONFIG, f"{_BLOCK}/llm_int8_threshold"),))


def _bnb_block(context: Context) -> Mapping[str, object]:
    block = context.ckpt.config.get("quantization_config")
    return block if isinstance(block, dict) else {}


def null_block(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if ``quantization_config`` is there and null."""
    if context.ckpt.config.get("quantization_config", 0) is None:
        yield Hit({}, (Location(_CONFIG, _BLOCK),))


def null_dtype(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if one of ``dtype`` and ``torch_dtype`` is null beside the other."""
    config = context.ckpt.config
    for key, other in (("dtype", "torch_dtype"), ("torch_dtype", "dtype")):
        if config.get(key, 0) is None and isinstance(config.get(other), str):
            facts: dict[str, Fact] = {"key": key, "other": other, "value": str(config[other])[:40]}
            yield Hit(facts, (Location(_CONFIG, f"/{key}"),))


def dtype(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if most matrices of a plain model have another float dtype than config.json says."""
    config = context.ckpt.config
    said = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    declared = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}.get(said)
    if declared is None or any(True for _ in declarations(context.ckpt)):
        return
    sizes: Counter[str] = Counter()
    for signature in context.view.signatures:
        for leaf in signature.leaves:
            if len(leaf.shape) > 1:
                sizes[leaf.dtype.lower()] += prod(leaf.shape) * signature.count
    main, size = sizes.most_common(1)[0] if sizes else ("", 0)
    if main in DENSE and main != declared and 2 * size > sizes.total():
        key = "dtype" if config.get("dtype") else "torch_dtype"
        yield Hit({"declared": said, "stored": main}, (Location(_CONFIG, f"/{key}"),))


def remote_code(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if ``auto_map`` names code files that are not here and no architecture of ours stands in."""
    auto_map = context.ckpt.config.get("auto_map")
    if not isinstance(auto_map, dict):
        return
    if context.ckpt.metadata_only:
        yield Skip("", "abstained", "only metadata is here, so absent code files say nothing")
        return
    values = [value for value in auto_map.values() if isinstance(value, str) and "--" not in value]
    files = {f"{value.partition('.')[0]}.py" for value in values if "." in value}
    lost = sorted(name for name in files if name not in context.ckpt.entries)
    if lost and context.rulebook.architecture(_first_class(context)) is None:
        yield Hit({"files": tuple(lost[:10])}, (Location(_CONFIG, "/auto_map"),))


def _first_class(context: Context) -> str:
    """Return the first of ``architectures``, "" when there is none."""
    names = context.ckpt.config.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""


def adapter(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if a whole model and an adapter's config share a directory; ``weights`` says whose are there."""
    here = context.ckpt.entries
    whole = any(not name.rpartition("/")[2].startswith("adapter") for name in context.ckpt.shards)
    if _CONFIG in here and "adapter_config.json" in here and whole:
        weights = any(name.startswith("adapter_model.") for name in here)
        if weights is params["weights"] and (weights or not context.ckpt.metadata_only):
            yield Hit({"weights": weights}, (Location("adapter_config.json"),))


def headless(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if ``architectures`` names a bare model and an output layer is stored."""
    name = _first_class(context)
    head = next((s for s in context.view.signatures if s.template == "lm_head" and s.leaf("weight")), None)
    if name.endswith("Model") and not name.endswith("LMHeadModel") and head is not None:
        yield Hit({"name": name[:100]}, (Location(_CONFIG, "/architectures"),))


def stray_text_config(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if a text model's config has a ``text_config``, which loaders take for the model's own."""
    config = context.ckpt.config
    if (
        isinstance(config.get("text_config"), dict)
        and config.get("model_type") in str(params["types"]).split()
    ):
        yield Hit({"model_type": str(config["model_type"])}, (Location(_CONFIG, "/text_config"),))


def token_ids(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the token ids called ``ids`` in ``file`` that the vocabulary of config.json does not have."""
    file = str(params["file"])
    nested = context.ckpt.config.get("text_config")
    sizes = [block.get("vocab_size") for block in (context.ckpt.config, nested) if isinstance(block, dict)]
    rows = [size for size in sizes if type(size) is int]
    if not rows:
        return
    for key in str(params["ids"]).split():
        value = context.ckpt.object(file).get(key)
        ids = value if isinstance(value, list) else [value]
        beyond = tuple(number for number in ids if type(number) is int and number >= max(rows))
        if beyond:
            facts: dict[str, Fact] = {"key": key, "ids": beyond[:20], "rows": max(rows)}
            yield Hit(facts, (Location(file, f"/{key}"),))


def layer_types(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a list ``layer_types`` that is not as long as ``num_hidden_layers`` says, in the text model's block."""
    nested = context.ckpt.config.get("text_config")
    for at, block in (
        ("", context.ckpt.config),
        ("/text_config", nested if isinstance(nested, dict) else {}),
    ):
        listed, counted = block.get("layer_types"), block.get("num_hidden_layers")
        if isinstance(listed, list) and type(counted) is int and len(listed) != counted:
            where = (Location(_CONFIG, f"{at}/num_hidden_layers"), Location(_CONFIG, f"{at}/layer_types"))
            yield Hit({"counted": counted, "listed": len(listed)}, where)
