"""What loaders share: which modules are linear layers, what the architecture expects, and the families of schemes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...checkpoint.nouns import Checkpoint, Signature, View
from ...expected.blueprint import Expected, expected, select
from ...expected.comparer import compare
from ...expected.comparison import Comparison
from ...ruledata import Rulebook

_VLLM = "vllm "
DENSE = frozenset({"bf16", "f16", "f32", "f64"})
_INTEGERS = frozenset({"u8", "i8", "i16", "i32"})
_FLOAT8 = frozenset({"f8_e4m3", "f8_e5m2"})
"""A lone weight of these dtypes, as of integers, holds codes that mean nothing without a scale."""
_NOT_LINEAR = ("embed", "norm", "wte", "wpe", "rotary", "conv", "ln_", "layernorm", "position")
ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})


class Architecture(NamedTuple):
    """What is known of the model class a config.json leads to."""

    expected: Expected | None
    comparison: Comparison | None
    reason: str
    """Why nothing is known, "" otherwise."""
    kinds: Mapping[str, str]
    """Tensor name template → linear, expert, embedding, head, norm, bias or other."""

    @property
    def source(self) -> str:
        """The package and version that this was read off, "" where nothing is known."""
        return self.expected.source if self.expected is not None else ""

    @property
    def borrowed(self) -> bool:
        """Whether this is vLLM's own class: in other loaders the class is code that the checkpoint brings."""
        return self.source.startswith(_VLLM)


def all_readable(ckpt: Checkpoint, view: View) -> bool:
    """Whether the names in every file of ``view`` are known: by header, or by index in a metadata-only clone."""
    if ckpt.metadata_only:
        return bool(view.signatures)
    shards = [ckpt.shards.get(name) for name in view.files]
    return bool(shards) and all(shard is not None and shard.readable for shard in shards)


def is_plain_weight(signature: Signature, known: Architecture) -> bool:
    """Whether the architecture has a floating-point weight of just this shape here."""
    leaf = signature.leaf("weight")
    if known.expected is None or leaf is None:
        return False
    for spelling in (f"{signature.template}.weight", f"model.{signature.template}.weight"):
        for entry in known.expected.entries.get(spelling, ()):
            return leaf.shape == entry.shape
    return False


def is_mlx(ckpt: Checkpoint) -> bool:
    """Whether this is an MLX export: ``quantization`` beside a ``quantization_config`` that names no method."""
    block = ckpt.config.get("quantization_config", {})
    return (
        isinstance(ckpt.config.get("quantization"), dict)
        and isinstance(block, dict)
        and not block.get("quant_method")
    )


def family(scheme: str) -> str:
    """Fold a scheme id into what loaders distinguish: ``dense``, ``bnb-4bit``, ``bnb-8bit`` or the id itself."""
    if scheme in DENSE:
        return "dense"
    if scheme in _INTEGERS:
        return "integers"
    if scheme in _FLOAT8:
        return "float8"
    return {"bnb-nf4": "bnb-4bit", "bnb-fp4": "bnb-4bit", "bnb-int8": "bnb-8bit"}.get(scheme, scheme)


def architecture(ckpt: Checkpoint, view: View, decides: str = "") -> Architecture:
    """Return what the architecture of ``ckpt`` expects and how ``view`` relates to it (computed once per view).

    Where ``architectures`` and ``model_type`` contradict each other, ``decides`` says which a loader goes by ("class"
    or "type"); without it nothing is known.
    """
    key = f"architecture {decides}"
    found = view.memo.get(key)
    if not isinstance(found, Architecture):
        config = _agreeing(ckpt.config, decides, ckpt.rulebook)
        shared = decides and config is ckpt.config
        found = architecture(ckpt, view) if shared else _architecture(config, view)
        if decides and found.expected is None:
            found = _fitting(config, view, decides) or found
        view.memo[key] = found
    return found


def _fitting(config: Mapping[str, object], view: View, decides: str) -> Architecture | None:
    """Return the class that files without a stated one, or with several, fit to the last tensor; None where none does.

    transformers goes by ``model_type`` and vLLM by the first class it knows. A folder without a class may as well be of
    another one of its type, with another head: so what does not fit says nothing.
    """
    names, stated = config.get("architectures"), config.get("model_type")
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    if len(listed) == 1:
        return None
    by_type = view.rulebook.class_of(stated) if isinstance(stated, str) else None
    for name in [*listed[:1], *([by_type] if by_type and decides == "type" else [])]:
        found = _architecture({**config, "architectures": [name]}, view)
        rows = found.comparison
        if rows and rows.matched and not (rows.missing or rows.unexpected or rows.mismatched or rows.unclear):
            return found
    return None


def _agreeing(config: Mapping[str, object], decides: str, rulebook: Rulebook) -> Mapping[str, object]:
    """Return ``config`` with the architecture of its model_type or the other way round, as it is where they agree."""
    names, stated = config.get("architectures"), config.get("model_type")
    if not decides or not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        return config
    blueprint = rulebook.architecture(names[0])
    if blueprint is None or not isinstance(stated, str) or stated in blueprint["model_types"]:
        return config
    if decides == "class":
        return {**config, "model_type": blueprint["model_types"][0]}
    name = rulebook.class_of(stated)
    return {**config, "architectures": [name]} if name else config


def elsewhere(known: Architecture) -> Architecture:
    """Return what is known of a class outside the loader that it was read off.

    Of vLLM's own classes nothing, where names differ both ways: the code in the checkpoint is another class then.
    """
    if known.borrowed and known.comparison is not None and _differ(known.comparison):
        return Architecture(None, None, _OTHER_CODE, {})
    return known


_OTHER_CODE = "the checkpoint brings its own code (auto_map) for other tensors"


def _differ(compared: Comparison) -> bool:
    """Whether names differ both ways."""
    return bool(compared.missing and compared.unexpected)


def _architecture(config: Mapping[str, object], view: View) -> Architecture:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    blueprint = view.rulebook.architecture(name) if name else None
    chosen = select({name: blueprint} if blueprint else {}, config, own_code=True)
    wanted = expected(chosen, config) if not isinstance(chosen, str) else chosen
    if isinstance(wanted, str):
        return Architecture(None, None, wanted, {})
    compared = compare(wanted, view.signatures, view.rulebook)
    if not wanted.source.startswith(_VLLM) and config.get("auto_map") and _differ(compared):
        # A loader that knows the model_type passes over the code that comes along, unless told to trust it: where names
        # differ both ways the code is another class (jina-embeddings-v3 calls itself XLM-RoBERTa).
        return Architecture(None, None, _OTHER_CODE, {})
    kinds = {template: entries[0].kind for template, entries in wanted.entries.items() if entries}
    kinds |= {template: blocks[0].entry.kind for template, blocks in wanted.fused.items() if blocks}
    return Architecture(wanted, compared, "", kinds)


def kind(signature: Signature, known: Architecture) -> str:
    """Return what kind of module ``signature`` is: by the architecture, else by its shape and name, else ""."""
    first = next((leaf.name for leaf in signature.leaves if leaf.name != "bias"), "")
    template = signature.template
    for name in ("weight", first):
        for spelling in (
            f"{template}.{name}",
            f"model.{template}.{name}",
            f"{template}.{name}".removeprefix("model."),
        ):
            if spelling in known.kinds:
                return known.kinds[spelling]
    return "" if known.expected is not None else _guess(signature)


def _guess(signature: Signature) -> str:
    """Tell linear layers from embeddings, norms and convolutions without knowing the architecture."""
    last = signature.template.rpartition(".")[2].lower()
    if signature.stored.quantized:
        return "linear"
    weight = signature.leaf("weight")
    if weight is None or len(weight.shape) != 2 or last in ROUTERS:
        return ""
    if any(part in last for part in _NOT_LINEAR):
        return "embedding" if "embed" in last or last in ("wte", "wpe") else ""
    return "head" if last == "lm_head" else "linear"


def is_convertible(signature: Signature, known: Architecture) -> bool:
    """Whether a quantiser would replace this module: a linear layer (the head included, routers and experts not)."""
    return kind(signature, known) in ("linear", "head")
