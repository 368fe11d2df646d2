"""The second exam's damages: types, ranks, words and numbers of the config that the first does not ask about.

Two layers' matrices exchanged are not among them: the values alone tell, and no header has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.exam.damages import DAMAGES, Damage, configured, linears, of, sharded, without
from tests.exam.sketch import Piece, Sketch

HEAD = re.compile(r"(lm_head|embed_out)\.weight$")


def _first(sketch: Sketch, place: int = 0) -> list[str]:
    templates = linears(sketch)
    return of(sketch, templates[place % len(templates)]) if templates else []


def _changed(sketch: Sketch, names: list[str], change: Callable[[Piece], Piece]) -> Sketch | None:
    if not names:
        return None
    return sketch.with_tensors({**sketch.tensors, **{name: change(sketch.tensors[name]) for name in names}})


def cast(dtype: str, names: Callable[[Sketch], list[str]]) -> Damage:
    """Store some tensors as another type of floats, values kept."""

    def apply(sketch: Sketch) -> Sketch | None:
        plain = [name for name in names(sketch) if sketch.tensors[name].dtype == "BF16"]
        return _changed(sketch, plain, lambda piece: piece._replace(dtype=dtype, change=f"cast {dtype}"))

    return apply


def integers(sketch: Sketch) -> Sketch | None:
    """Store one kind of matrix as I32."""
    return _changed(sketch, _first(sketch), lambda piece: piece._replace(dtype="I32", change="integers"))


def other_rank(sketch: Sketch) -> Sketch | None:
    """Store one matrix with a leading 1: as many elements, another rank."""
    return _changed(sketch, _first(sketch)[-1:], lambda piece: piece._replace(shape=(1, *piece.shape)))


def flat(sketch: Sketch) -> Sketch | None:
    """Store one matrix as a vector."""
    return _changed(
        sketch, _first(sketch)[-1:], lambda piece: piece._replace(shape=(piece.shape[0] * piece.shape[1],))
    )


def norm_rank(sketch: Sketch) -> Sketch | None:
    """Store the norms as matrices of one row."""
    names = [n for n, p in sketch.tensors.items() if len(p.shape) == 1 and "norm" in n.lower()]
    return _changed(sketch, names, lambda piece: piece._replace(shape=(1, *piece.shape)))


def drop_norms(sketch: Sketch) -> Sketch | None:
    """Drop every norm outside the layers."""
    return without(
        sketch,
        [n for n in sketch.tensors if "norm" in n.lower() and not re.search(r"\.\d+\.", n)],
    )


def drop_biases(sketch: Sketch) -> Sketch | None:
    """Drop every bias."""
    return without(sketch, [n for n in sketch.tensors if n.endswith(".bias")])


def drop_expert(sketch: Sketch) -> Sketch | None:
    """Drop the last expert of every layer."""
    found = [int(m[1]) for n in sketch.tensors if (m := re.search(r"\.experts\.(\d+)\.", n))]
    return without(sketch, [n for n in sketch.tensors if f".experts.{max(found)}." in n]) if found else None


def fewer_stacked(sketch: Sketch) -> Sketch | None:
    """Cut a stack of experts by one."""
    names = [n for n, p in sketch.tensors.items() if len(p.shape) == 3 and "expert" in n]
    return _changed(
        sketch,
        names,
        lambda piece: piece._replace(shape=(piece.shape[0] - 1, *piece.shape[1:]), change="rows"),
    )


def rows(change: int) -> Damage:
    """Give the embedding, and the head where one is stored, more or fewer rows than config.json counts."""

    def apply(sketch: Sketch) -> Sketch | None:
        names = [n for n, p in sketch.tensors.items() if len(p.shape) == 2 and p.shape[0] == 128]
        names = [n for n in names if not re.search(r"\.\d+\.", n)]
        return _changed(
            sketch, names, lambda piece: piece._replace(shape=(128 + change, piece.shape[1]), change="rows")
        )

    return apply


def swapped_files(sketch: Sketch) -> Sketch | None:
    """Two files with an index that names the wrong one for every tensor."""
    whole = sharded(sketch)
    assert whole is not None
    assert whole.index is not None
    first, second = whole.files
    return whole._replace(index={n: second if f == first else first for n, f in whole.index.items()})


def shard_renamed(sketch: Sketch) -> Sketch | None:
    """Two files of which one has another name than the index says."""
    whole = sharded(sketch)
    assert whole is not None
    first, second = whole.files.values()
    names = list(whole.files)
    return whole._replace(files={names[0]: first, "model-00002-of-00003.safetensors": second})


def shard_lost(sketch: Sketch) -> Sketch | None:
    """The second of two files is not there."""
    whole = sharded(sketch)
    assert whole is not None
    return whole._replace(files=dict(list(whole.files.items())[:1]))


def extra_name(sketch: Sketch) -> Sketch | None:
    """An index that names a tensor that is nowhere."""
    whole = sharded(sketch)
    assert whole is not None
    assert whole.index is not None
    return whole._replace(index={**whole.index, "ghost.weight": next(iter(whole.files))})


def beside(sketch: Sketch) -> Sketch | None:
    """Two files without an index."""
    whole = sharded(sketch)
    return whole._replace(index=None) if whole else None


def head_stored(sketch: Sketch) -> Sketch | None:
    """Store a head of its own where there is none."""
    embedding = next((n for n in sketch.tensors if n.endswith(("embed_tokens.weight", "wte.weight"))), "")
    if not embedding or any(HEAD.search(n) for n in sketch.tensors):
        return None
    return sketch.with_tensors({**sketch.tensors, "lm_head.weight": sketch.tensors[embedding]})


def setting(**changes: Any) -> Damage:
    """Set keys of config.json, there or not."""
    return lambda sketch: sketch._replace(config={**sketch.config, **changes})


def more(key: str, change: int) -> Damage:
    """Change a count in config.json."""

    def apply(sketch: Sketch) -> Sketch | None:
        value = sketch.config.get(key)
        known = type(value) is int
        return sketch._replace(config={**sketch.config, key: value + change}) if known else None

    return apply


def rope(**values: Any) -> Damage:
    """Set the rope's parameters, where the class has any."""

    def apply(sketch: Sketch) -> Sketch | None:
        found = sketch.config.get("rope_parameters")
        if not isinstance(found, dict) or "rope_theta" not in found:
            return None
        return sketch._replace(config={**sketch.config, "rope_parameters": {**found, **values}})

    return apply


NEW: dict[str, Damage] = {
    "all-f16": cast("F16", lambda sketch: list(sketch.tensors)),
    "all-f32": cast("F32", lambda sketch: list(sketch.tensors)),
    "one-f64": cast("F64", lambda sketch: _first(sketch)),
    "said-f32": setting(dtype="float32"),
    "said-f16": setting(dtype="float16"),
    "dtype-nonsense": setting(dtype="bfloat17"),
    "dtype-int": setting(dtype="int8"),
    "integers": integers,
    "other-rank": other_rank,
    "flat": flat,
    "norm-rank": norm_rank,
    "drop-outer-norms": drop_norms,
    "drop-biases": drop_biases,
    "drop-expert": drop_expert,
    "fewer-stacked": fewer_stacked,
    "rows+64": rows(64),
    "rows-1": rows(-1),
    "swapped-files": swapped_files,
    "shard-renamed": shard_renamed,
    "shard-lost": shard_lost,
    "extra-name": extra_name,
    "no-index": beside,
    "head-stored": head_stored,
    "tie-absent": configured(tie_word_embeddings=...),
    "heads+1": more("num_attention_heads", 1),
    "heads-half": more("num_attention_heads", -1),
    "kv-heads+1": more("num_key_value_heads", 1),
    "intermediate+1": more("intermediate_size", 1),
    "hidden+64": more("hidden_size", 64),
    "experts+1": more("num_local_experts", 1),
    "routed+1": more("n_routed_experts", 1),
    "experts-1": more("num_experts", -1),
    "vocab+1": more("vocab_size", 1),
    "vocab-64": more("vocab_size", -64),
    "act-unknown": configured(hidden_act="swishh"),
    "rope-type": rope(rope_type="yarnn"),
    "rope-no-factor": rope(rope_type="linear"),
    "rope-factor-text": rope(rope_type="linear", factor="2"),
    "rope-text": configured(rope_parameters="linear"),
    "type-misspelt": setting(model_type="lamma"),
    "type-absent": configured(model_type=...),
    "type-foreign": setting(model_type="llama"),
    "class-empty": setting(architectures=[]),
    "class-foreign": setting(architectures=["LlamaForCausalLM"]),
    "class-unknown": setting(architectures=["NoSuchForCausalLM"]),
    "class-two": lambda sketch: sketch._replace(
        config={**sketch.config, "architectures": [*sketch.config["architectures"], "LlamaForCausalLM"]}
    ),
}
_AGAIN = (
    "sound sharded foo-prefix drop-kind-2 drop-one-3 drop-norm drop-embedding drop-head drop-layer add-bias"
)
_AGAIN += (
    " add-buffer transposed layers-more layers-fewer no-architectures tied-flipped untied-flipped unlisted"
)
MORE_DAMAGES: dict[str, Damage] = {name: DAMAGES[name] for name in _AGAIN.split()} | NEW
