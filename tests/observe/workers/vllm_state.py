"""What a loaded vLLM model holds, module by module, in the names and units of the checkpoint.

Taken between vLLM's two steps "load weights" and "process weights after loading", so that no kernel layout
gets in between. Quantised weights are compared dequantised.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

SENTINEL = 0x5A  # every byte of an integer tensor that nobody has written yet; floats are NaN
RUN = 64  # so many sentinel bytes in a row do not happen in real weights
FLOATS = {"BF16": "bf16", "F16": "f16", "F32": "f32", "F64": "f64"}
TORCH = {
    "bfloat16": "BF16",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "uint8": "U8",
}
TORCH |= {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "int32": "I32"}
FP8 = {"F8_E4M3": "fp8", "F8_E5M2": "fp8-e5m2"}
EXPERT = re.compile(r"(.*\.experts)\.\d+\.(gate_proj|up_proj|down_proj|w1|w2|w3)")
# Parameters that nothing uses: compressed-tensors' weight_shape, and the order of activation of experts, which is set
# anew after loading unless the config asks for it, as that of no fixture does.
UNUSED = {"weight_shape", "w13_weight_shape", "w2_weight_shape", "w13_weight_g_idx", "w2_weight_g_idx"}
UNUSED |= {"w13_g_idx_sort_indices", "w2_g_idx_sort_indices"}
LEAVES = {"weight", "qweight", "weight_packed"}


class Held(NamedTuple):
    """One parameter: its dequantised values, its schemes (one, or one per fused shard) and what is unwritten."""

    values: Any
    schemes: tuple[str, ...]
    unwritten: int


def snapshot(model: Any) -> dict[str, Held]:
    """Every parameter of the model by vLLM's name, tied ones under both of their names."""
    method = getattr(getattr(model, "quant_config", None), "get_name", lambda: "")()
    block = getattr(getattr(model, "config", None), "quantization_config", None)
    if isinstance(block, dict):  # the CPU's own classes of 0.20 do not go by the method's name
        method = f"{method} {block.get('quant_method')}"
    parameters = dict(model.named_parameters(remove_duplicate=False))
    held = {}
    for name, parameter in parameters.items():
        if name.rpartition(".")[2] in UNUSED:
            continue
        siblings = {
            key.rpartition(".")[2] for key in parameters if key.rpartition(".")[0] == name.rpartition(".")[0]
        }
        held[name] = hold(parameter, siblings, method)
    return held


def hold(parameter: Any, siblings: set[str], method: str) -> Held:
    """One parameter as `Held`; `siblings` are the leaves beside it in its module."""
    states = getattr(parameter, "bnb_quant_state", None)
    if type(parameter.data).__module__.startswith("torchao."):
        values = parameter.data.dequantize().float()
        return Held(values, ("torchao",), unwritten(values))
    if states is None:
        dtype = TORCH.get(str(parameter.dtype).rpartition(".")[2], str(parameter.dtype))
        return Held(parameter.detach().clone(), (scheme(dtype, siblings, method),), unwritten(parameter))
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


def scheme(dtype: str, leaves: set[str], method: str) -> str:
    """The scheme of a module, from its weight's dtype, the leaves beside it and the declared method."""
    for leaf in leaves:
        if found := re.fullmatch(r"weight\.quant_state\.bitsandbytes__(nf4|fp4)", leaf):
            return f"bnb-{found[1]}"
    if "SCB" in leaves:
        return "bnb-int8"
    if "qweight" in leaves:
        return "awq" if "awq" in method else "gptq"
    if "weight_packed" in leaves:
        return "ct-packed"
    if dtype == "I8" and any(
        leaf.endswith("weight_scale") for leaf in leaves
    ):  # of experts: w13_weight_scale
        return "int8"
    return FLOATS.get(dtype) or FP8.get(dtype) or dtype.lower()


def stored(directory: Path) -> dict[str, str]:
    """Scheme of each module that has a matrix in the safetensors headers of a checkpoint; {} if one is unreadable."""
    entries: dict[str, Any] = {}
    types: dict[str, str] = {}
    try:
        for path in sorted(directory.glob("*.safetensors")):
            header = read_header(path)
            entries |= header
            types |= {
                name: quant_type(path, header[name])
                for name in header
                if ".quant_state.bitsandbytes__" in name
            }
        config = json.loads((directory / "config.json").read_text())
        method = str((config.get("quantization_config") or {}).get("quant_method", ""))
    except Exception:  # whatever is wrong with a broken file, vLLM has had its say on it
        return {}
    found = {}
    for name, entry in entries.items():
        module, _, leaf = name.rpartition(".")
        if leaf in LEAVES and len(entry["shape"]) > 1:
            below = module + "."
            leaves = {key.removeprefix(below) for key in entries if key.startswith(below)}
            said = next((kind for key, kind in types.items() if key.startswith(name + ".") and kind), None)
            found[module] = f"bnb-{said}" if said else scheme(entry["dtype"], leaves, method)
    return found


def read_header(path: Path) -> dict[str, Any]:
    """The entries of one safetensors header, with the offset of the data behind it under each entry."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: {**entry, "start": 8 + length} for name, entry in header.items()}


def quant_type(path: Path, entry: dict[str, Any]) -> str:
    """What a stored quant_state says its weight is; that, not the tensor's name, is what bitsandbytes believes."""
    first, last = entry["data_offsets"]
    with path.open("rb") as file:
        file.seek(entry["start"] + first)
        try:
            return str(json.loads(file.read(last - first)).get("quant_type", ""))
        except ValueError:
            return ""


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


def template(module: str) -> str:
    """A module name with every number in it replaced by `*`."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", module)


def by_template(schemes: dict[str, str]) -> dict[str, str]:
    """Scheme per module template; `mixed(...)` where the modules of one template differ."""
    groups: dict[str, set[str]] = {}
    for module, name in schemes.items():
        groups.setdefault(template(module), set()).add(name)
    return {
        key: names.pop() if len(names) == 1 else f"mixed({','.join(sorted(names))})"
        for key, names in groups.items()
    }


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
        return not bool((a - b).norm() <= 0.25 * b.norm())  # NaN counts as different
    return not bool((a - b).abs().max() <= b.abs().max() / 64)
