"""The dtype of activations in transformers 5 under bitsandbytes, where dense parameters keep the dtype of the file.

A quantised layer returns the dtype it was given, a norm what its weight and its input promote to, and a plain matrix
product insists on one dtype: a single float32 norm in a bfloat16 file is enough to stop the first forward pass.
https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/llama/modeling_llama.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...checkpoint.nouns import Signature, View
from ...model import Location, Outcome
from ..base import Event
from ..shared.modules import Architecture, family, kind

_ERROR = "RuntimeError: expected m1 and m2 to have the same dtype, but got: {} != {}"
_NAMES = {"F64": "double", "F32": "float", "F16": "c10::Half", "BF16": "c10::BFloat16"}
_KEEPS = frozenset({"Gemma", "Gemma2", "Gemma3"})
"""Families whose norms compute in float32 and give back the dtype of their input."""
_PROMOTES = frozenset(
    {"Llama", "Mistral", "Mixtral", "Qwen2", "Qwen3", "Qwen2Moe", "Qwen3Moe", "Phi3", "SmolLM3"}
)
"""Families whose norms multiply by their weight last, in layers of norm, attention, norm and feed-forward."""
_ORDER = ("input_layernorm", "q_proj", "k_proj", "v_proj", "qkv_proj", "q_norm", "k_norm", "o_proj")


class _Step(NamedTuple):
    """One dense parameter, to be sorted into the order of a forward pass."""

    section: int
    layer: int
    place: int
    kind: str
    dtype: str
    tensor: str


def mixed_dtypes(
    view: View, known: Architecture, converted: Callable[[Signature, str], bool]
) -> Iterator[Event]:
    """Yield the first product of two dtypes in a forward pass; "unknown" where the order of layers is not known."""
    steps = sorted(_steps(view, known, converted))
    dtypes = tuple(sorted({step.dtype for step in steps}))
    if len(dtypes) < 2 or known.expected is None:
        return
    name = known.expected.architecture.removesuffix("ForCausalLM")
    found = _first_clash(steps, name)
    if found is not None:
        step, outcome, error = found
        at = (Location(view.owner.get(step.tensor, ""), tensor=step.tensor),)
        yield Event("mixed-dtypes", outcome, {"dtypes": dtypes}, at, error=error)


def _first_clash(steps: list[_Step], name: str) -> tuple[_Step, Outcome, str | None] | None:
    """Return the step that stops the forward pass of a family of models, with outcome and error."""
    if name not in _KEEPS | _PROMOTES:
        return steps[-1], "unknown", None
    clash = _clash(steps, keeps=name in _KEEPS)
    if clash is None:
        return None
    step, given = clash
    return step, "fails-late", _ERROR.format(_NAMES[given], _NAMES[step.dtype])


def _clash(steps: list[_Step], *, keeps: bool) -> tuple[_Step, str] | None:
    """Return the first step that cannot take the dtype it is given, and that dtype."""
    stream = steps[0].dtype
    for step in steps:
        if step.kind == "embedding":
            stream = step.dtype
        elif step.kind != "norm":
            if step.dtype != stream:
                return step, stream
        elif not keeps:
            promoted = stream if step.dtype == stream else max(stream, step.dtype, "F32")
            if promoted != stream and step.tensor.endswith(("q_norm.weight", "k_norm.weight")):
                return step, promoted  # queries and keys are no longer what values are
            stream = promoted
    return None


def _steps(view: View, known: Architecture, converted: Callable[[Signature, str], bool]) -> Iterator[_Step]:
    tied = {name for group in known.expected.tied for name in group} if known.expected else set()
    for signature in view.signatures:
        what, dtype = kind(signature, known), _dense_dtype(signature)
        if not dtype or what not in ("embedding", "norm", "head", "linear", "other"):
            continue
        for module in signature.modules:
            tensor = f"{module}.weight"
            if what == "head" and tensor in tied:
                continue  # the embedding takes its place
            if what in ("linear", "head") and converted(signature, module):
                continue
            yield _step(what, dtype, tensor)
            if what == "embedding" and tensor in tied:
                yield _Step(3, 0, 0, "head", dtype, tensor)


def _dense_dtype(signature: Signature) -> str:
    """Return the dtype of a plain weight of floats, "" of anything else."""
    weight = signature.leaf("weight")
    plain = weight is not None and family(signature.stored.scheme) == "dense"
    return weight.dtype if plain and weight and weight.dtype in _NAMES else ""


def _step(what: str, dtype: str, tensor: str) -> _Step:
    parts = tensor.split(".")
    layer = next((int(part) for part in parts if part.isdigit()), -1)
    section = {"embedding": 0, "head": 3}.get(what, 1 if layer >= 0 else 2)
    if parts[-2] in _ORDER:
        return _Step(section, layer, _ORDER.index(parts[-2]), what, dtype, tensor)
    return _Step(section, layer, len(_ORDER) + (what != "norm"), what, dtype, tensor)
