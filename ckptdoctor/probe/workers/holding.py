"""How a loaded model holds its parameters: values, precision, and both against the file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch

from . import against
from .pieces import pieces as pieces_of
from .pieces import precise
from .stored import Stored
from .templates import template
from .tracing import plain, supplied

SCHEMES = {
    torch.bfloat16: "bf16",
    torch.float16: "f16",
    torch.float32: "f32",
    torch.uint8: "u8",
    torch.int8: "i8",
}
SCHEMES |= {torch.float8_e4m3fn: "fp8", torch.float8_e5m2: "fp8-e5m2", torch.float64: "f64"}
ADAPTER = re.compile(r"\.default(?=\.|$)")
"""The name that PEFT gives to an adapter, in the names of its parameters but not in its file."""
PLAIN = {"bf16", "f16", "f32", "f64"}
# Companions that are compared as part of the weight, or that a loader may ignore without harm.
BOOKKEEPING = (".SCB", ".weight_format", ".weight_shape")
CODES = ("weight", "weight_packed", "weight_scale", "qweight", "scales")
SCALES = (".weight_scale", ".weight_scale_inv")
# On a machine without an accelerator transformers dequantises these on purpose, and says so.
DEQUANTISED_ON_CPU = {"fp8", "fp8-e5m2"}


def values(model: Any) -> dict[str, torch.Tensor]:
    """Every parameter and persistent buffer as float32, quantised weights as the numbers they stand for."""
    state = {n: t for n, t in model.state_dict().items() if isinstance(t, torch.Tensor)}
    found = {
        effective(n): plain(t).float()
        for n, t in state.items()
        if ".weight." not in n and not n.endswith(BOOKKEEPING) and ".original_module." not in n
    }
    for name, module in model.named_modules():
        if type(module).__name__ == "Linear4bit" and getattr(module.weight, "quant_state", None) is not None:
            found[effective(f"{name}.weight")] = four_bit(module.weight)
        elif type(module).__name__ == "Linear8bitLt" and module.weight.dtype == torch.int8:
            found[effective(f"{name}.weight")] = eight_bit(module)
    return found


def effective(name: str) -> str:
    """A parameter's name without the wrappers that PEFT puts around a module it adapts, or trains as a whole.

    A whole copy that is loaded into the module itself has the same effect as one beside it.
    """
    return name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")


def eight_bit(module: Any) -> torch.Tensor:
    """The numbers that the weight of a Linear8bitLt stands for."""
    scale = module.weight.SCB if module.weight.SCB is not None else module.state.SCB
    codes = module.weight.CB if module.weight.CB is not None else module.weight
    found: torch.Tensor = codes.float() * scale.float().view(-1, 1) / 127
    return found


def four_bit(weight: Any) -> torch.Tensor:
    """The numbers that a bitsandbytes 4-bit weight stands for."""
    from bitsandbytes.functional import dequantize_4bit

    decoded: torch.Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return decoded.float()


def compare(
    sound: dict[str, torch.Tensor], found: dict[str, torch.Tensor], tolerance: float
) -> tuple[list[str], float]:
    """The names that only one has or whose values differ by over `tolerance` of the largest; the worst difference."""
    differing, worst = sorted(sound.keys() ^ found.keys()), 0.0
    for name in sound.keys() & found.keys():
        expected, actual = sound[name], found[name]
        if expected.numel() != actual.numel() or actual.is_meta:
            differing.append(name)
            continue
        difference = (expected.flatten() - actual.flatten()).abs().max().item()
        worst = max(worst, difference)
        if not difference <= tolerance * expected.abs().max().item():
            differing.append(name)
    return sorted(differing), worst


def scheme_of(module: Any, leaf: str, parameter: torch.Tensor) -> str:
    """The scheme at which a module holds its parameter `leaf`."""
    kind = type(module).__name__
    state = getattr(parameter, "quant_state", None)
    if kind == "Linear4bit" and leaf == "weight" and state is not None:
        return f"bnb-{state.quant_type}"
    if kind == "Linear8bitLt" and leaf == "weight" and parameter.dtype == torch.int8:
        return "bnb-int8"
    if leaf == "weight_packed":
        return "ct-packed"
    if leaf == "weight" and parameter.dtype == torch.int8 and hasattr(module, "weight_scale"):
        return "int8"
    return SCHEMES.get(parameter.dtype, str(parameter.dtype))


def held(model: Any) -> dict[str, str]:
    """The scheme of every matrix: under its module's name if it is that module's weight, else under its own."""
    schemes = {}
    for name, module in model.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1 and not leaf.endswith("_scale"):
                key = name if leaf in ("weight", "weight_packed") else f"{name}.{leaf}"
                schemes[key] = scheme_of(module, leaf, parameter)
    return schemes


def otherwise_stored(schemes: dict[str, str], on_disk: dict[str, str]) -> list[str]:
    """The modules that `schemes` has at another scheme than the one `on_disk`.

    16 and 32 bits count as one scheme: `dtype="auto"` converts between them by design.
    """
    wrong = []
    for name, scheme in schemes.items():
        kept = on_disk.get(name, scheme)
        same = kept == scheme or {kept, scheme} <= PLAIN or (kept in DEQUANTISED_ON_CPU and scheme in PLAIN)
        if not same:
            wrong.append(f"{name} ({kept} as {scheme})")
    return wrong


def unscaled(on_disk: dict[str, str], unexpected: Iterable[str]) -> list[str]:
    """The 8-bit modules whose scales the loader had no use for: it took the codes for the weights."""
    scaled = {name.rpartition(".")[0] for name in unexpected if name.endswith(SCALES)}
    return sorted(module for module in scaled if on_disk.get(module) in ("fp8", "fp8-e5m2", "int8"))


def dropped(model: Any, unexpected: Iterable[str]) -> list[str]:
    """The tensors of whole layers beyond the model's last, which it has no place for though it has such layers."""
    kinds: dict[str, set[str]] = {}
    for name in map(template, model.state_dict()):
        kinds.setdefault(name.partition(".*.")[0], set()).add(name)
    layers: dict[str, list[str]] = {}
    for name in unexpected:
        if found := re.match(r"(.*?)\.\d+\.", name):
            layers.setdefault(found[0], []).append(name)
    whole = []
    for layer, names in layers.items():
        wanted = kinds.get(template(layer + "x").partition(".*.")[0], set())
        if wanted and wanted <= set(map(template, names)):
            whole += names
    return whole


def left_out(model: Any, missing: Iterable[str]) -> list[str]:
    """The codes and scales of integers that no file supplied: what is there instead cannot be marked as NaN can."""
    state = model.state_dict()
    return [
        name
        for name in missing
        if name.rpartition(".")[2] in CODES and name in state and not state[name].is_floating_point()
    ]


def against_files(model: Any, stored: Stored | None, schemes: dict[str, str]) -> against.Compared:
    """Every parameter and persistent buffer against the files, as the numbers it stands for where that is known."""
    found = against.Compared(stored)
    on_disk = {} if stored is None else stored.schemes()
    modules = dict(model.named_modules())
    prefix = str(getattr(model, "base_model_prefix", ""))
    for name, tensor in supplied(model):
        parent, _, leaf = name.rpartition(".")
        module = modules.get(parent)
        try:
            view = None if stored is None else decoded(module, leaf, tensor.detach())
        except (
            Exception
        ):  # bitsandbytes cannot make numbers of it; should the forward pass raise, that is what counts
            found.differ.append(name)
            continue
        if view is not None and leaf == "weight" and misshapen(module, view):
            found.differ.append(name)
            continue
        if view is None or stored is None:
            found.unknown.append(name)
            continue
        pieces = next(filter(None, (pieces_of(one, view, stored, prefix) for one in spellings(name))), [])
        held = schemes.get(parent if leaf == "weight" else name, "")
        found.add(name, precise(pieces, on_disk, held) if held else pieces)
    return found


def spellings(name: str) -> list[str]:
    """What a parameter may be called in the file: an adapter's name is left out there, and often the wrapper's."""
    bare = [name, ADAPTER.sub("", name), ADAPTER.sub("", effective(name))]
    vectors = [one.removesuffix(".weight") for one in bare if "lora_magnitude_vector" in one]
    return list(dict.fromkeys([*bare, *vectors]))


def misshapen(module: Any, weight: torch.Tensor) -> bool:
    """Whether a 4-bit weight stands for a matrix that lies the other way round than its module multiplies by."""
    if type(module).__name__ != "Linear4bit":
        return False
    wanted = (module.out_features, module.in_features)
    return tuple(weight.shape) == wanted[::-1] != wanted


def decoded(module: Any, leaf: str, tensor: torch.Tensor) -> torch.Tensor | None:
    """The numbers that a parameter stands for, or its codes; None where it is not decoded by itself."""
    kind = type(module).__name__
    if type(tensor).__module__.startswith("torchao."):
        return None
    if kind == "Linear4bit" and leaf == "weight" and getattr(module.weight, "quant_state", None) is not None:
        return four_bit(module.weight)
    if kind == "Linear8bitLt" and leaf == "weight" and module.weight.dtype == torch.int8:
        return eight_bit(module)
    return tensor
