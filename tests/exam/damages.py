"""What may happen to a checkpoint: each takes a sound sketch to a damaged one, or to None where it does not apply."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.exam.sketch import Piece, Sketch

Damage = Callable[[Sketch], Sketch | None]
_INDEX = re.compile(r"\.(\d+)\.")


def _template(name: str) -> str:
    return _INDEX.sub(".*.", name)


def linears(sketch: Sketch) -> list[str]:
    """Templates of matrices inside layers, without experts' stacks."""
    return sorted(
        {
            _template(n)
            for n, p in sketch.tensors.items()
            if len(p.shape) == 2 and _INDEX.search(n) and n.endswith("weight")
        }
    )


def _norms(sketch: Sketch) -> list[str]:
    return sorted(
        {
            _template(n)
            for n, p in sketch.tensors.items()
            if len(p.shape) == 1 and "norm" in n.lower() and _INDEX.search(n)
        }
    )


def _biases(sketch: Sketch) -> list[str]:
    return sorted({_template(n) for n in sketch.tensors if n.endswith(".bias") and _INDEX.search(n)})


def of(sketch: Sketch, template: str) -> list[str]:
    """Tensors of a template."""
    return [name for name in sketch.tensors if _template(name) == template]


def without(sketch: Sketch, names: list[str]) -> Sketch | None:
    """The sketch without some tensors, None where there are none to lose."""
    if not names:
        return None
    return sketch.with_tensors({name: piece for name, piece in sketch.tensors.items() if name not in names})


def _renamed(sketch: Sketch, rename: Callable[[str], str]) -> Sketch | None:
    made = {rename(name): piece for name, piece in sketch.tensors.items()}
    return None if made.keys() == sketch.tensors.keys() else sketch.with_tensors(made)


def _pick(names: list[str], place: int) -> str:
    return names[place % len(names)] if names else ""


def drop_kind(place: int) -> Damage:
    """Drop one kind of matrix from every layer."""
    return lambda sketch: without(sketch, of(sketch, _pick(linears(sketch), place)))


def drop_one(place: int) -> Damage:
    """Drop one kind of matrix from the last layer that has it."""
    return lambda sketch: without(sketch, of(sketch, _pick(linears(sketch), place))[-1:])


def drop_norm(sketch: Sketch) -> Sketch | None:
    """Drop one norm of one layer."""
    return without(sketch, of(sketch, _pick(_norms(sketch), 0))[-1:])


def drop_bias(sketch: Sketch) -> Sketch | None:
    """Drop one bias of one layer."""
    return without(sketch, of(sketch, _pick(_biases(sketch), 0))[-1:])


def _embedding(sketch: Sketch) -> str:
    wide = [
        n
        for n, p in sketch.tensors.items()
        if len(p.shape) == 2 and p.shape[0] == 128 and not _INDEX.search(n)
    ]
    return next((name for name in wide if "emb" in name or "wte" in name or "shared" in name), "")


def drop_embedding(sketch: Sketch) -> Sketch | None:
    """Drop the input embedding."""
    name = _embedding(sketch)
    return without(sketch, [name] if name else [])


def drop_head(sketch: Sketch) -> Sketch | None:
    """Drop the head, if it is stored."""
    heads = [
        n
        for n in sketch.tensors
        if re.match(r"(lm_head|embed_out|score|classifier|qa_outputs)\b", n) and n.endswith("weight")
    ]
    return without(sketch, heads[:1])


def drop_layer(sketch: Sketch) -> Sketch | None:
    """Drop all tensors of the last layer."""
    found = [int(match[1]) for name in sketch.tensors if (match := _INDEX.search(name))]
    last = max(found, default=0)
    return (
        without(sketch, [n for n in sketch.tensors if (m := _INDEX.search(n)) and int(m[1]) == last])
        if last
        else None
    )


def add_bias(sketch: Sketch) -> Sketch | None:
    """Store a bias that the class does not have, for one kind of matrix."""
    for template in linears(sketch):
        bias = template.removesuffix("weight") + "bias"
        if not of(sketch, bias):
            more = {
                name.removesuffix("weight") + "bias": Piece(
                    sketch.tensors[name].dtype, sketch.tensors[name].shape[:1]
                )
                for name in of(sketch, template)
            }
            return sketch.with_tensors({**sketch.tensors, **more})
    return None


def add_buffer(sketch: Sketch) -> Sketch | None:
    """Store rotary frequencies, as old versions did."""
    first = _pick(linears(sketch), 0)
    names = [name.rpartition(".")[0].rpartition(".")[0] for name in of(sketch, first)]
    more = {f"{name}.rotary_emb.inv_freq": Piece("F32", (16,)) for name in names}
    return sketch.with_tensors({**sketch.tensors, **more}) if names else None


def prefixed(prefix: str) -> Damage:
    """Put a prefix before every name."""
    return lambda sketch: _renamed(sketch, lambda name: prefix + name)


def stripped(sketch: Sketch) -> Sketch | None:
    """Take the first part off every name that has the most common one."""
    firsts = [name.partition(".")[0] for name in sketch.tensors]
    most = max(set(firsts), key=firsts.count)
    return _renamed(sketch, lambda name: name.removeprefix(f"{most}."))


def transposed(sketch: Sketch) -> Sketch | None:
    """Transpose one kind of matrix that is not square."""
    for template in linears(sketch):
        names = of(sketch, template)
        shape = sketch.tensors[names[0]].shape
        if shape[0] != shape[1]:
            turned = {
                n: sketch.tensors[n]._replace(shape=sketch.tensors[n].shape[::-1], change="transpose")
                for n in names
            }
            return sketch.with_tensors({**sketch.tensors, **turned})
    return None


def fewer_rows(sketch: Sketch) -> Sketch | None:
    """Cut the vocabulary of the embedding."""
    name = _embedding(sketch)
    if not name:
        return None
    piece = sketch.tensors[name]
    return sketch.with_tensors(
        {**sketch.tensors, name: piece._replace(shape=(120, *piece.shape[1:]), change="rows")}
    )


def gamma_beta(sketch: Sketch) -> Sketch | None:
    """Name the parameters of norms as TensorFlow did."""
    return _renamed(
        sketch,
        lambda name: re.sub(
            r"(LayerNorm)\.weight$", r"\1.gamma", re.sub(r"(LayerNorm)\.bias$", r"\1.beta", name)
        ),
    )


def configured(**changes: Any) -> Damage:
    """Set keys of config.json; `...` takes one away. Only keys that are there already."""

    def apply(sketch: Sketch) -> Sketch | None:
        if not all(key in sketch.config for key in changes):
            return None
        config = {**sketch.config, **{key: value for key, value in changes.items() if value is not ...}}
        for key, value in changes.items():
            if value is ...:
                config.pop(key)
        return sketch._replace(config=config) if config != sketch.config else None

    return apply


def layers(change: int) -> Damage:
    """Count more or fewer layers in config.json than are stored."""

    def apply(sketch: Sketch) -> Sketch | None:
        for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            if isinstance(sketch.config.get(key), int):
                config = {**sketch.config, key: sketch.config[key] + change}
                types = config.get("layer_types")
                if isinstance(types, list):
                    config["layer_types"] = (types + types[-1:])[: config[key]]
                return sketch._replace(config=config)
        return None

    return apply


def stale_copy(sketch: Sketch) -> Sketch | None:
    """Two files: the second holds another copy of a matrix, which the index gives to the first."""
    names = of(sketch, _pick(linears(sketch), 1))
    if not names:
        return None
    first, stale = dict(sketch.tensors), names[0]
    half = list(first)[len(first) // 2 :]
    second = {name: first.pop(name) for name in half if name != stale}
    first.setdefault(stale, sketch.tensors[stale])
    second[stale] = sketch.tensors[stale]._replace(change="other")
    files = {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}
    index = {name: file for file, tensors in files.items() for name in tensors} | {
        stale: "model-00001-of-00002.safetensors"
    }
    return Sketch(sketch.config, files, index)


def unlisted(sketch: Sketch) -> Sketch | None:
    """Two files, and an index that does not name one kind of matrix."""
    whole = sharded(sketch)
    names = of(sketch, _pick(linears(sketch), 0))
    if whole is None or whole.index is None or not names:
        return None
    return whole._replace(index={name: file for name, file in whole.index.items() if name not in names})


def sharded(sketch: Sketch) -> Sketch | None:
    """Two files with an index: sound."""
    names = list(sketch.tensors)
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    files = {
        f"model-{number:05}-of-00002.safetensors": {name: sketch.tensors[name] for name in half}
        for number, half in enumerate(halves, 1)
    }
    return Sketch(sketch.config, files, {name: file for file, tensors in files.items() for name in tensors})


def sound(sketch: Sketch) -> Sketch:
    """Nothing happened."""
    return sketch


DAMAGES: dict[str, Damage] = {
    "sound": sound,
    "sharded": sharded,
    "foo-prefix": prefixed("foo."),
    "orig-mod": prefixed("_orig_mod."),
    "ddp": prefixed("module."),
    "model-prefix": prefixed("model."),
    "language-model-prefix": prefixed("language_model."),
    "stripped": stripped,
    "drop-kind-0": drop_kind(0),
    "drop-kind-2": drop_kind(2),
    "drop-one-1": drop_one(1),
    "drop-one-3": drop_one(3),
    "drop-norm": drop_norm,
    "drop-bias": drop_bias,
    "drop-embedding": drop_embedding,
    "drop-head": drop_head,
    "drop-layer": drop_layer,
    "add-bias": add_bias,
    "add-buffer": add_buffer,
    "transposed": transposed,
    "fewer-rows": fewer_rows,
    "gamma-beta": gamma_beta,
    "layers-more": layers(1),
    "layers-fewer": layers(-1),
    "no-architectures": configured(architectures=...),
    "tied-flipped": configured(tie_word_embeddings=True),
    "untied-flipped": configured(tie_word_embeddings=False),
    "hidden-negative": configured(hidden_size=-1),
    "heads-zero": configured(num_attention_heads=0),
    "kv-heads-text": configured(num_key_value_heads="2"),
    "vocab-huge": configured(vocab_size=2**50),
    "stale-copy": stale_copy,
    "unlisted": unlisted,
}
