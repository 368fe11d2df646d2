"""What a loaded vLLM model holds, module by module, in the names and units of the checkpoint.

Taken between vLLM's two steps "load weights" and "process weights after loading", so that no kernel layout
gets in between. Quantised weights are compared dequantised.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from . import against, pieces
from .stored import LEAVES, Stored, scheme

SENTINEL = 0x5A  # every byte of an integer tensor that nobody has written yet; floats are NaN
RUN = 64  # so many sentinel bytes in a row do not happen in real weights
TORCH = {
    "bfloat16": "BF16",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "uint8": "U8",
}
TORCH |= {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "int32": "I32"}
EXPERT = re.compile(r"(.*\.experts)\.\d+\.(gate_proj|up_proj|down_proj|w1|w2|w3)")
# Parameters that nothing uses: compressed-tensors' weight_shape, and the order of activation of experts, which is set
# anew after loading unless the config asks for it, as that of no fixture does.
UNUSED = {"weight_shape", "w13_weight_shape", "w2_weight_shape", "w13_weight_g_idx", "w2_weight_g_idx"}
UNUSED |= {"w13_g_idx_sort_indices", "w2_g_idx_sort_indices"}


class Held(NamedTuple):
    """One parameter: its dequantised values, its schemes (one, or one per fused shard) and what is unwritten.

    The values are kept only where there is a twin to compare them with: they are as large as the model.
    """

    values: Any
    schemes: tuple[str, ...]
    unwritten: int


class Snapshot(NamedTuple):
    """Every parameter by vLLM's name, tied ones under both of their names, and what the files say of them."""

    held: dict[str, Held]
    compared: against.Compared


def snapshot(model: Any, stored: Stored | None, *, keep: bool) -> Snapshot:
    """Look at every parameter of the model; `keep` its values."""
    method = getattr(getattr(model, "quant_config", None), "get_name", lambda: "")()
    block = getattr(getattr(model, "config", None), "quantization_config", None)
    if isinstance(block, dict):  # the CPU's own classes of 0.20 do not go by the method's name
        method = f"{method} {block.get('quant_method')}"
    packed = {**pieces.FUSED, **getattr(model, "packed_modules_mapping", {})}
    on_disk = {} if stored is None else stored.schemes()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    below: dict[str, set[str]] = {}
    for name in parameters:
        module, _, leaf = name.rpartition(".")
        below.setdefault(module, set()).add(leaf)
    found = Snapshot({}, against.Compared(stored))
    for name, parameter in parameters.items():
        module, _, leaf = name.rpartition(".")
        if leaf in UNUSED:
            continue
        held = hold(parameter, below[module], method)
        if stored is not None and not held.unwritten:
            made = pieces.pieces(name, held.values, stored, packed=packed)
            schemes = held.schemes if len(held.schemes) == len(made) else held.schemes[:1] * len(made)
            made = [
                piece
                for one, how in zip(made, schemes, strict=True)
                for piece in pieces.precise([one], on_disk, how)
            ]
            found.compared.add(name, made)
        elif not held.unwritten:
            found.compared.unknown.append(name)
        values = held.values.clone() if keep else None
        found.held[name] = held._replace(values=values)
    found.compared.without_source()
    return found


def hold(parameter: Any, siblings: set[str], method: str) -> Held:
    """One parameter as `Held`; `siblings` are the leaves beside it in its module."""
    states = getattr(parameter, "bnb_quant_state", None)
    if type(parameter.data).__module__.startswith("torchao."):
        values = parameter.data.dequantize().float()
        return Held(values, ("torchao",), unwritten(values))
    if states is None:
        dtype = TORCH.get(str(parameter.dtype).rpartition(".")[2], str(parameter.dtype))
        return Held(parameter.detach(), (scheme(dtype, siblings, method),), unwritten(parameter))
    if not isinstance(states, dict):  # the experts of one layer share one state
        return Held(dequantise(parameter.reshape(-1, 1), states), (kind(states),), unwritten(parameter))
    import torch

    offsets = [int(value) for value in parameter.bnb_shard_offsets]
    parts = [dequantise(parameter[offsets[i] : offsets[i + 1]], states[i]) for i in range(len(states))]
    return Held(torch.cat(parts), tuple(kind(states[i]) for i in range(len(states))), unwritten(parameter))


def kind(state: Any) -> str:
    """The scheme of a bitsandbytes quantisation state: 4-bit ones name theirs, 8-bit ones are the bare SCB tensor."""
    return f"bnb-{state.quant_type}" if hasattr(state, "quant_type") else "bnb-int8"


def dequantise(weight: Any, state: Any) -> Any:
    """The float32 values of one bitsandbytes weight; not-a-number where its state does not fit the weight."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    try:
        if not hasattr(state, "quant_type"):
            return weight.float() * (state.float() / 127).reshape(-1, 1)
        return dequantize_4bit(weight.contiguous(), state).float()
    except Exception:
        return torch.full(tuple(state.shape), float("nan"))


def unwritten(parameter: Any) -> int:
    """How many elements (floats) or bytes in long runs (integers) loading left as construction made them."""
    import torch

    data = parameter.detach().contiguous()
    if data.dtype is torch.float32:  # vLLM itself marks scales that are still to be read by the lowest number
        return int((torch.isnan(data) | (data == torch.finfo(torch.float32).min)).sum())
    if data.dtype.is_floating_point:
        return int(torch.isnan(data.float()).sum())
    octets = data.flatten().view(torch.uint8)
    if octets.numel() < RUN:
        return 0
    chunks = octets[: octets.numel() // RUN * RUN].reshape(-1, RUN)
    return int((chunks == SENTINEL).all(1).sum()) * RUN


def locate(module: str, held: dict[str, Held], packed: dict[str, list[str]]) -> str | None:
    """The scheme in which vLLM holds a module of the checkpoint; None where it holds no such module."""
    parent, _, last = module.rpartition(".")
    if expert := EXPERT.fullmatch(module):
        fused = "w2_weight" if expert[2] in {"down_proj", "w2"} else "w13_weight"
        name = next((key for key in held if key.startswith(expert[1] + ".") and key.endswith(fused)), None)
        return held[name].schemes[0] if name else None
    places = [(module, 0)]
    places += [(f"{parent}.{whole}", parts.index(last)) for whole, parts in packed.items() if last in parts]
    for place, shard in places:
        for leaf in LEAVES:
            if weight := held.get(f"{place}.{leaf}"):
                schemes = weight.schemes
                return schemes[shard] if shard < len(schemes) else schemes[0]
    return None


def modules_of(name: str, packed: dict[str, list[str]]) -> set[str]:
    """The checkpoint's modules that one of vLLM's parameters is made of, its own name included."""
    module = name.rpartition(".")[0]
    parent, _, last = module.rpartition(".")
    return {module} | {f"{parent}.{part}" for part in packed.get(last, [])}


def different(mine: Held, other: Held, restored: bool) -> bool:
    """Whether two parameters hold different values: by over 1/64 of the largest, room for one rounding to bfloat16.

    Where the scheme is not the same, on disk (`restored`) or as held, by over a quarter of the norm.
    """
    a, b = mine.values.float().flatten(), other.values.float().flatten()
    if a.shape != b.shape:
        return True
    if not mine.values.is_floating_point() and not restored and mine.schemes == other.schemes:
        return not bool((a == b).all())  # codes, and exponents: one more is twice the value
    if not a.numel():
        return False
    if restored or mine.schemes != other.schemes:
        return not bool((a - b).norm() <= against.REQUANTISED * b.norm())  # NaN counts as different
    return not bool((a - b).abs().max() <= b.abs().max() * against.ROUNDING)
