"""Every scheme of rules/schemes proves itself on its own examples, and no example passes for another scheme."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckptdoctor.ruledata import Rulebook
from ckptdoctor.schemes.base import Leaf, QuantState, Stored
from ckptdoctor.schemes.monomial import parse
from ckptdoctor.schemes.recognise import candidates, recognise
from ckptdoctor.schemes.solve import Fault
from tests.support.shipped import RULEBOOK

SCHEMES = Path(__file__).parents[2] / "rules" / "schemes"


def _examples() -> Iterator[Any]:
    for path in sorted(SCHEMES.glob("*.yaml")):
        for number, example in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))["examples"]):
            yield pytest.param(path.stem, example, id=f"{path.stem}-{number}")


EXAMPLES = list(_examples())


def leaves_of(tensors: dict[str, list[Any]]) -> tuple[Leaf, ...]:
    return tuple(sorted(Leaf(name, dtype, tuple(shape)) for name, (dtype, shape) in tensors.items()))


def words(fault: Fault) -> str:
    if fault.what == "missing":
        return f"{fault.role} is missing"
    if fault.what == "dtype":
        return f"{fault.role} is {fault.got}"
    return f"{fault.role} is {list(fault.got)}, not {list(fault.expected)}"


def found_in(example: dict[str, Any], rulebook: Rulebook = RULEBOOK) -> tuple[str, dict[str, int], list[str]]:
    """Return scheme, sizes and faults of an example's tensors."""
    leaves = leaves_of(example["tensors"])
    stored = recognise(leaves, None, rulebook)
    sizes = {
        "bits": stored.bits,
        "group": stored.group,
        "in": stored.in_features,
        "out": stored.out_features,
    }
    faults = [words(fault) for solution in candidates(leaves, rulebook)[:1] for fault in solution.faults]
    return stored.scheme, {key: value for key, value in sizes.items() if value is not None}, faults


def is_right(scheme: str, example: dict[str, Any], rulebook: Rulebook = RULEBOOK) -> bool:
    """Whether an example of ``scheme`` is taken for what it says."""
    if "is" in example:
        return found_in(example, rulebook)[0] == example["is"]
    return found_in(example, rulebook) == (scheme, example.get("stored", {}), example.get("faults", []))


@pytest.mark.parametrize(("scheme", "example"), EXAMPLES)
def test_example(scheme: str, example: dict[str, Any]) -> None:
    assert is_right(scheme, example), found_in(example)


def mutants(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the scheme with one datum less, or one other, than it should have."""
    for role, dtypes in data["identify"].items():
        if len(data["identify"]) > 1:
            yield f"not identified by {role}", _changed(data, ("identify",), role)
        if dtypes:
            yield f"identified by any {role}", _changed(data, ("identify",), role, [])
        yield from _shortened(data, ("identify", role), dtypes)
    for key in ("bits", "group"):
        yield from _shortened(data, (key,), data.get(key, []))
    for role, given in data["roles"].items():
        if role not in data["identify"]:
            yield f"no {role}", _changed(data, ("roles",), role)
        for key in given:
            yield f"{role} without {key}", _changed(data, ("roles", role), key)
        yield from _shortened(data, ("roles", role, "dtype"), given.get("dtype", []))
        shape = given.get("shape", [])
        if any(isinstance(dims, list) for dims in shape):
            yield from _shortened(data, ("roles", role, "shape"), shape)
            for place, dims in enumerate(shape):
                yield from _reshaped(data, ("roles", role, "shape", place), dims)
        else:
            yield from _reshaped(data, ("roles", role, "shape"), shape)


def _reshaped(
    data: dict[str, Any], path: tuple[Any, ...], dims: list[Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the scheme with every dimension of one shape twice as large, or without its leading ones."""
    for place, dim in enumerate(dims):
        other = f"ceil(2*{dim[5:]}" if str(dim).startswith("ceil(") else f"2*{dim}"
        changed = None if dim == "..." else other
        yield f"{path[1:]}: {dim} is {changed}", _changed(data, path, place, changed)


def _shortened(
    data: dict[str, Any], path: tuple[Any, ...], items: list[Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, item in enumerate(items):
        if len(items) > 1:
            yield f"{'/'.join(map(str, path))} without {item}", _changed(data, path, place)


def _changed(data: dict[str, Any], path: tuple[Any, ...], key: Any, value: Any = None) -> dict[str, Any]:
    copy = deepcopy(data)
    at: Any = copy
    for step in path:
        at = at[step]
    if value is None:
        del at[key]
    else:
        at[key] = value
    return copy


@pytest.mark.parametrize("scheme", sorted(path.stem for path in SCHEMES.glob("*.yaml")))
def test_every_datum_has_a_witness(scheme: str) -> None:
    own = [example.values for example in EXAMPLES if example.values[0] == scheme]
    survivors = []
    for name, mutant in mutants(dict(RULEBOOK.schemes[scheme])):
        book = RULEBOOK.replace(schemes={**RULEBOOK.schemes, scheme: mutant})
        if all(is_right(scheme, example, book) for _, example in own):
            survivors.append(name)
    assert survivors == []


COMPLETE = [
    example
    for example in EXAMPLES
    if "is" not in example.values[1]
    and not any("missing" in fault for fault in example.values[1].get("faults", ()))
]
"""Where a tensor is missing, the names that are left may well be all of another scheme."""


@pytest.mark.parametrize(("scheme", "example"), COMPLETE)
def test_names_alone_never_name_another_scheme(scheme: str, example: dict[str, Any]) -> None:
    names = tuple(sorted(Leaf(name, "", ()) for name in example["tensors"]))
    stored = recognise(names, None, RULEBOOK)
    assert stored.quantized
    assert stored.scheme in (scheme, "")


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        ({"weight", "SCB", "weight_format"}, "bnb-int8"),
        ({"qweight", "qzeros", "scales", "g_idx"}, "gptq"),
        ({"weight", "weight_scale_inv"}, "fp8-block"),
        ({"gate_up_proj_blocks", "gate_up_proj_scales", "gate_up_proj_bias"}, "mxfp4"),
        ({"weight", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4"}, "bnb-nf4"),
        ({"weight", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__fp4"}, "bnb-fp4"),
        ({"weight", "weight.absmax", "weight.quant_map"}, "bnb-4bit"),
        ({"weight", "bias"}, ""),
    ],
)
def test_names_that_suffice(names: set[str], scheme: str) -> None:
    assert recognise(tuple(Leaf(name, "", ()) for name in sorted(names)), None, RULEBOOK).scheme == scheme


@pytest.mark.parametrize(
    ("leaves", "expected"),
    [
        ((Leaf("weight", "BF16", (256, 512)),), Stored("bf16", None, None, 512, 256)),
        ((Leaf("bias", "F32", (256,)), Leaf("weight", "F16", (256,))), Stored("f16")),
        ((Leaf("sinks", "BF16", (64,)),), Stored("bf16")),
        ((Leaf("down_proj", "BF16", (8, 4, 2)), Leaf("x", "F32", (2,))), Stored("bf16", None, None, 2, 4)),
        ((Leaf("weight", "F8_E4M3", (4, 4)),), Stored("f8_e4m3", None, None, 4, 4)),
        ((Leaf("position_ids", "I64", (1, 512)),), Stored("i64", None, None, 512, 1)),
        ((Leaf("A_log", "F32", (8,)), Leaf("dt_bias", "BF16", (16,))), Stored("bf16")),
    ],
)
def test_dense(leaves: tuple[Leaf, ...], expected: Stored) -> None:
    assert recognise(leaves, None, RULEBOOK) == expected


def test_bitsandbytes_sizes_come_from_its_state() -> None:
    leaves = (Leaf("weight", "BF16", (32768, 1)), Leaf("weight.quant_state.bitsandbytes__nf4", "U8", ()))
    state = QuantState(quant_type="nf4", blocksize=64, shape=(256, 512))
    assert recognise(leaves, state, RULEBOOK) == Stored("bnb-nf4", 4, 64, 512, 256, True)
    assert recognise(leaves, QuantState(defect="not JSON"), RULEBOOK) == Stored(
        "bnb-nf4", 4, None, None, None, True
    )


@pytest.mark.parametrize(
    ("text", "known", "value"),
    [
        ("16", {}, 16),
        ("out", {"out": 7}, 7),
        ("in*bits/32", {"in": 512, "bits": 4}, 64),
        ("in*bits/32", {"in": 513, "bits": 4}, None),
        ("ceil(in*bits/32)", {"in": 513, "bits": 4}, 65),
        ("ceil(in/group)", {"in": 512, "group": 128}, 4),
        ("words*8", {"words": 3}, 24),
    ],
)
def test_monomial(text: str, known: dict[str, int], value: int | None) -> None:
    assert parse(text).value(known) == value


@pytest.mark.parametrize(
    "text", ["", "in+1", "in*", "*in", "ceil(in", "in out", "2in", "floor(in/2)", "in**2", "-1"]
)
def test_monomial_is_no_language(text: str) -> None:
    with pytest.raises(ValueError, match="not a product"):
        parse(text)


def test_monomial_solves() -> None:
    packed = parse("ceil(in*bits/32)")
    assert packed.solve("in", 64, {"bits": 4}) == 512
    assert packed.solve("in", 48, {"bits": 3}) == 512
    assert packed.solve("in", 5, {"bits": 3}) is None
