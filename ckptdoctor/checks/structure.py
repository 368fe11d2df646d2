"""Which tensors there are: names that a wrapper left behind, empty shapes, holes in a stack of layers, tied heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checkpoint.nouns import Checkpoint, Signature
from ..loaders.shared.modules import architecture
from ..model import Fact, Hit, Location, Outcome, Skip, worst
from . import loader
from .base import Context, Params, needs
from .tie import samples

_STACKS = frozenset({"layers", "h", "blocks", "block", "layer"})
_NAME_EVENTS = frozenset({"foreign-names", "missing-tensor", "unexpected-tensor"})
"""Events in which a loader says what names that are not there cost it."""
_FEWEST = 4
"""A stack of fewer layers says nothing about what all its layers have."""


def wrapped(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if names hold ``part``: at their start (``anywhere: false``) or as any component."""
    part, anywhere = str(params["part"]), bool(params["anywhere"])
    found = [s for s in _own(context) if _holds(s.template, part, anywhere)]
    if not found or (not anywhere and _expected_prefix(context, part)):
        return
    tensors = sum(signature.count * len(signature.leaves) for signature in found)
    places = context.view.locate(found[0], limit=3)
    lora = any("lora_A" in signature.template for signature in context.view.signatures)
    yield Hit({"part": part, "lora": lora}, places, "", tensors, _outcomes_of_names(context))


def _own(context: Context) -> Iterator[Signature]:
    """Yield the signatures that are not an adapter's, whose names are meant to be like that."""
    for signature in context.view.signatures:
        file = context.view.locate(signature, limit=1)[0].file if signature.modules else ""
        if not file.rpartition("/")[2].startswith("adapter"):
            yield signature


def _holds(template: str, part: str, anywhere: bool) -> bool:
    return f".{part}." in f".{template}." if anywhere else f"{template}.".startswith(f"{part}.")


def _expected_prefix(context: Context, part: str) -> bool:
    known = architecture(context.ckpt, context.view).expected
    return known is not None and any(name.startswith(f"{part}.") for name in known.entries)


def _outcomes_of_names(context: Context) -> Mapping[str, Outcome]:
    """Return the outcome each target's own account of foreign names gives, ``unknown`` where it has none."""
    given: dict[str, Outcome] = {reading.target.label: "unknown" for reading in context.readings}
    for reading in context.readings:
        told = [event.outcome for event in reading.events if event.code in _NAME_EVENTS]
        if told:
            given[reading.target.label] = worst(told)
    return given


def shapes(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the loaders' shape mismatches; ``empty`` asks for tensors without elements, else for the others."""
    for hit in loader.events(context, {"event": "shape-mismatch"}):
        if isinstance(hit, Hit):
            got = hit.facts.get("got")
            if (isinstance(got, tuple) and 0 in got) is params["empty"]:
                yield hit


def empty(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weights without elements where no architecture says what they should be."""
    if architecture(context.ckpt, context.view).expected is not None:
        return
    for signature in context.view.signatures:
        weight = signature.leaf("weight")
        if weight is not None and 0 in weight.shape and weight.dtype in ("BF16", "F16", "F32"):
            places = context.view.locate(signature, "weight")
            yield Hit({"got": weight.shape}, places, signature.template, signature.count)


def holes(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield stacks of layers whose numbers leave out some, where no architecture misses the tensors itself."""
    if not _unknown_and_whole(context):
        return
    for stack, numbers in _stacks(context).items():
        lost = sorted(set(range(max(numbers))) - numbers.keys())
        if lost and len(numbers) >= _FEWEST:
            yield Hit({"stack": stack, "lost": tuple(lost[:20]), "last": max(numbers)}, (), "", len(lost))


def count(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if config.json counts more layers than the longest stack has."""
    wanted = _layers(context.ckpt)
    if wanted is None or not _unknown_and_whole(context):
        return
    stacks = _stacks(context)
    if not stacks:
        return
    found = max(max(numbers) + 1 for numbers in stacks.values())
    if found < wanted:
        yield Hit({"wanted": wanted, "found": found}, (Location("config.json", "/num_hidden_layers"),))


def odd_layer(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield tensors that all layers have but one in the middle, which has nothing else in their place."""
    if not _unknown_and_whole(context):
        return
    for stack, numbers in _stacks(context).items():
        everything: set[str] = set().union(*numbers.values())
        for name in sorted(everything):
            lacking = [number for number, names in numbers.items() if name not in names]
            if len(numbers) < _FEWEST or len(lacking) != 1 or lacking[0] in (min(numbers), max(numbers)):
                continue
            layer = lacking[0]
            others = set().union(*(names for number, names in numbers.items() if number != layer))
            if not numbers[layer] - others:
                yield Hit({"tensor": f"{stack}.{layer}.{name}", "layers": len(numbers)})


def _unknown_and_whole(context: Context) -> bool:
    """Whether no architecture is known, and every file an index names is read here (no adapter, no lost shard)."""
    index = context.ckpt.index
    whole = index is None or set(index.files) <= set(context.view.files)
    known = architecture(context.ckpt, context.view).expected is not None
    return whole and not known and "adapter_config.json" not in context.ckpt.entries


def _stacks(context: Context) -> Mapping[str, dict[int, set[str]]]:
    """Return stack (``model.layers``) → layer number → names below it, for the outermost numbered stacks."""
    known = context.view.memo.get("stacks")
    if not isinstance(known, dict):
        known = context.view.memo["stacks"] = _find_stacks(context)
    return known


def _find_stacks(context: Context) -> dict[str, dict[int, set[str]]]:
    stacks: dict[str, dict[int, set[str]]] = {}
    for signature in context.view.signatures:
        head, star, tail = signature.template.partition(".*")
        if not star or head.rpartition(".")[2] not in _STACKS:
            continue
        at = head.count(".") + 1
        below = tail.lstrip(".")
        names = {f"{below}.{leaf.name}".lstrip(".") for leaf in signature.leaves}
        layers = stacks.setdefault(head, {})
        for number in {module.split(".", at + 1)[at] for module in signature.modules}:
            layers.setdefault(int(number), set()).update(names)
    return stacks


def _layers(ckpt: Checkpoint) -> int | None:
    nested = ckpt.config.get("text_config")
    for block in (ckpt.config, nested if isinstance(nested, dict) else {}):
        value = block.get("num_hidden_layers")
        if type(value) is int and value < 100_000:
            return value
    return None


@needs(samples)
def tied_head(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if config.json ties the head to the embedding and an equal head (as far as read) is stored."""
    if context.ckpt.config.get("tie_word_embeddings") is not True:
        return
    named = {signature.template: signature for signature in context.view.signatures}
    head = named.get("lm_head")
    embedding = next((s for name, s in named.items() if name.endswith("embed_tokens")), None)
    a, b = (s.leaf("weight") if s else None for s in (head, embedding))
    if head is None or embedding is None or a is None or b is None:
        return
    same = a.shape == b.shape
    if same and _differ(context, head.template, embedding.template):
        return  # they differ: that is told by `tie.overwritten`
    if same is params["same"]:
        facts: dict[str, Fact] = {"head": a.shape, "embedding": b.shape} if not same else {}
        yield Hit(facts, context.view.locate(head, "weight"))


def _differ(context: Context, *modules: str) -> bool:
    """Whether samples of the weights of all ``modules`` were read and are not the same."""
    read = {context.micro.get(f"{name}.weight") for name in modules}
    return len(read) > 1 and None not in read


def tie_flags(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if root and text_config contradict each other about tying and no head is stored."""
    nested = context.ckpt.config.get("text_config")
    outer = context.ckpt.config.get("tie_word_embeddings")
    inner = nested.get("tie_word_embeddings") if isinstance(nested, dict) else None
    heads = any(s.template.rpartition(".")[2] == "lm_head" for s in context.view.signatures)
    if (
        type(outer) is bool
        and type(inner) is bool
        and outer is not inner
        and not heads
        and context.view.signatures
    ):
        at = (
            Location("config.json", "/tie_word_embeddings"),
            Location("config.json", "/text_config/tie_word_embeddings"),
        )
        yield Hit({"outer": outer, "inner": inner}, at)
