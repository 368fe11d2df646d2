"""The blueprint reader: what config.json calls for, set against what is stored."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckptdoctor.expected.blueprint import Expected, Gap, expected, select, starred
from ckptdoctor.expected.comparer import compare
from ckptdoctor.expected.comparison import Comparison
from ckptdoctor.expected.formula import BadFormula, Unknowable, evaluate, parse
from ckptdoctor.expected.grouping import grouped
from tests.support.shipped import RULEBOOK

FOLDER = Path(__file__).resolve().parents[2] / "rules" / "architectures"
Tensors = dict[str, tuple[str, tuple[int, ...]]]

DENSE: dict[str, Any] = {
    "architecture": "DemoForCausalLM",
    "model_types": ["demo"],
    "prefix": "model",
    "absent": {
        "heads": 4,
        "width": "heads*head_dim",
        "bias": False,
        "tie": True,
        "kinds": {"value": "plain"},
    },
    "none": {"groups": "heads"},
    "alias": {"layers": ["n_layer"]},
    "tied": [{"names": ["model.embed.weight", "lm_head.weight"], "when": {"tie": True}}],
    "tensors": [
        {"tensors": {"model.embed.weight": ["embedding", "vocab", "width"]}},
        {"tensors": {"lm_head.weight": ["head", "vocab", "width"], "model.norm.weight": ["norm", "?"]}},
        {
            "at": "model.layers.*",
            "over": ["layers"],
            "tensors": {
                "q.weight": ["linear", "heads*head_dim", "width"],
                "k.weight": ["linear", "groups*head_dim", "width"],
            },
        },
        {
            "at": "model.layers.*",
            "over": ["layers"],
            "when": {"bias": True},
            "tensors": {"q.bias": ["bias", 8]},
        },
    ],
}
CONFIG = {"layers": 3, "head_dim": 2, "groups": 2, "vocab": 11}

MOE: dict[str, Any] = {
    "architecture": "MixForCausalLM",
    "model_types": ["mix"],
    "renamed": {"model.text": "model"},
    "ignored": ["mtp.**"],
    "extra_layers": [{"at": "model.layers.*", "from": "layers", "count": "next"}],
    "tensors": [
        {
            "at": "model.layers.*.experts.*",
            "over": [{"from": "dense", "to": "layers"}, "experts"],
            "tensors": {
                "up.weight": ["expert", "inner", "width"],
                "down.weight": ["expert", "width", "inner"],
            },
        },
        {
            "at": "model.layers.*",
            "over": [{"from": "dense", "to": "layers", "inverse": True}],
            "tensors": {"mlp.weight": ["linear", "width", "width"]},
        },
    ],
    "fused": [
        {
            "at": "model.layers.*",
            "over": [{"from": "dense", "to": "layers"}],
            "tensors": {f"experts.{name}": ["expert", "experts", *dims]},
            "replaces": [f"model.layers.*.experts.*.{name}.weight"],
        }
        for name, dims in (("up", ["inner", "width"]), ("down", ["width", "inner"]))
    ],
}
MOE_CONFIG = {"layers": 3, "dense": 1, "experts": 4, "inner": 5, "width": 6, "next": 1}


def wanted(blueprint: Mapping[str, Any], config: Mapping[str, Any]) -> Expected:
    result = expected(blueprint, config)
    assert isinstance(result, Expected), result
    return result


def dense_tensors(**config: Any) -> Tensors:
    """A complete file for DENSE, with the head."""
    tensors: Tensors = {"model.embed.weight": ("BF16", (11, 8)), "model.norm.weight": ("BF16", (8,))}
    for layer in range(3):
        tensors[f"model.layers.{layer}.q.weight"] = ("BF16", (8, 8))
        tensors[f"model.layers.{layer}.k.weight"] = ("BF16", (4, 8))
    return tensors | {"lm_head.weight": ("BF16", (11, 8))}


def moe_tensors() -> Tensors:
    tensors: Tensors = {"model.layers.0.mlp.weight": ("BF16", (6, 6))}
    for layer in (1, 2):
        for expert in range(4):
            at = f"model.layers.{layer}.experts.{expert}"
            tensors |= {f"{at}.up.weight": ("BF16", (5, 6)), f"{at}.down.weight": ("BF16", (6, 5))}
    return tensors


def fused_tensors() -> Tensors:
    tensors: Tensors = {"model.layers.0.mlp.weight": ("BF16", (6, 6))}
    for layer in (1, 2):
        tensors[f"model.layers.{layer}.experts.up"] = ("BF16", (4, 5, 6))
        tensors[f"model.layers.{layer}.experts.down"] = ("BF16", (4, 6, 5))
    return tensors


def dense(tensors: Tensors, **config: Any) -> Comparison:
    return compare(wanted(DENSE, CONFIG | config), grouped(tensors), RULEBOOK)


def moe(tensors: Tensors, **config: Any) -> Comparison:
    return compare(wanted(MOE, MOE_CONFIG | config), grouped(tensors), RULEBOOK)


def is_clean(result: Comparison) -> bool:
    return (
        not (result.missing or result.unclear or result.unexpected or result.mismatched)
        and result.matched == 1
    )


# -- formulas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("a", 6), ("2*a*b + c", 34), ("a*b/c", 3), ("a/4", 1), ("a/b + a.b", 12), ("  a  +b ", 8)],
)
def test_formula(text: str, value: int) -> None:
    assert evaluate(text, {"a": 6, "b": 2, "c": 4 if "/c" in text else 10, "a.b": 9}.__getitem__) == value


@pytest.mark.parametrize("text", ["", "a +", "* a", "a b", "a - b", "(a)", "a**b", "a//b", "1.5", "a;b", "é"])
def test_what_is_no_formula(text: str) -> None:
    with pytest.raises(BadFormula):
        parse(text)


def test_formula_without_an_answer() -> None:
    with pytest.raises(Unknowable) as caught:
        evaluate("a/zero", {"a": 7, "zero": 0}.__getitem__)
    assert (caught.value.key, caught.value.fault) == ("zero", "zero")


def test_a_product_beyond_any_tensor() -> None:
    assert evaluate("big*big*big + a", {"a": 7, "big": 1 << 40}.__getitem__) > 1 << 61


@pytest.mark.parametrize(
    ("changed", "key", "fault"),
    [
        ({"head_dim": -1}, "head_dim", "negative"),
        ({"layers": -1}, "layers", "negative count"),
        ({"layers": 10**5}, "layers", "huge"),
        ({"head_dim": "2"}, "head_dim", "type"),
        ({"head_dim": True}, "head_dim", "type"),
        ({"vocab": [2]}, "vocab", "type"),
    ],
)
def test_a_number_to_blame(changed: dict[str, Any], key: str, fault: str) -> None:
    gap = expected(DENSE, CONFIG | changed)
    assert isinstance(gap, Gap)
    assert (gap.key, gap.fault) == (key, fault)


# -- expectations ---------------------------------------------------------------------------------------------------


def test_defaults_aliases_and_nulls() -> None:
    without = {"n_layer": 3, "head_dim": 2, "groups": None, "vocab": 11}
    entries = wanted(DENSE, without).entries
    assert entries["model.layers.*.k.weight"][0].shape == (8, 8)
    assert entries["model.layers.*.q.weight"][0].indices == ((0, 1, 2),)


@pytest.mark.parametrize(
    "config",
    [
        {"layers": None},
        {"layers": True},
        {"layers": "3"},
        {"layers": 3.0},
        {"layers": -1},
        {"layers": 10**9},
        {"head_dim": []},
        {"bias": "yes"},
        {"tie": 1},
    ],
)
def test_abstains_where_a_value_is_odd(config: dict[str, Any]) -> None:
    assert isinstance(expected(DENSE, CONFIG | config), str)


def test_abstains_where_a_value_is_absent() -> None:
    assert (
        expected(DENSE, {"layers": 3, "groups": 2, "vocab": 11}) == "config.json gives no value for head_dim"
    )


def test_abstains_on_values_never_tried() -> None:
    picky = DENSE | {"requires": {"kinds": ["plain"], "width_too": [{"key": "width"}]}}
    assert isinstance(expected(picky, CONFIG), Expected)
    assert isinstance(expected(picky, CONFIG | {"width_too": 8}), Expected)
    assert isinstance(expected(picky, CONFIG | {"width_too": 9}), str)
    assert isinstance(expected(picky, CONFIG | {"kinds": "fancy"}), str)


def test_defaults_that_go_in_circles() -> None:
    assert "depends on itself" in str(
        expected(DENSE | {"absent": {"head_dim": "vocab", "vocab": "head_dim"}}, {})
    )


def test_the_cost_does_not_grow_with_the_layers() -> None:
    huge = {"layers": 60000, "dense": 0, "experts": 60, "inner": 5, "width": 6, "next": 0}
    began = time.perf_counter()
    expected(MOE, huge)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("domain", "indices"),
    [
        ("n", (0, 1, 2, 3, 4, 5)),
        ({"from": 2, "to": "n"}, (2, 3, 4, 5)),
        ({"from": 2, "to": "n", "inverse": True}, (0, 1)),
        ({"to": "n", "every": "step"}, (1, 3, 5)),
        ({"to": "n", "every": "step", "except": "some"}, (5,)),
        ({"to": "n", "every": "step", "except": "some", "inverse": True}, (0, 1, 2, 3, 4)),
        ({"to": "n", "in": "some"}, (1, 3)),
        ({"from": 1, "until": "3 + 1", "to": "n"}, (1, 2, 3)),
        ({"to": "n", "where": "kinds", "is": "full"}, (2, 5)),
        ({"to": "n", "where": "listed", "is": "a"}, (0, 3)),
    ],
)
def test_domains(domain: Any, indices: tuple[int, ...]) -> None:
    blueprint = {
        "architecture": "D",
        "absent": {"kinds": {"to": "n", "every": 3, "last": "full", "other": "sliding"}},
        "tensors": [{"at": "l.*", "over": [domain], "tensors": {"w": ["other", "n"]}}],
    }
    config = {"n": 6, "step": 2, "some": [1, 3], "listed": list("abcabc")}
    assert wanted(blueprint, config).entries["l.*.w"][0].indices == (indices,)


def test_a_list_shorter_than_the_stack() -> None:
    domain = {"to": "n", "where": "kinds", "is": "full"}
    group = {"at": "l.*", "over": [domain], "tensors": {"w": ["other", "n"]}}
    assert "shorter" in str(expected({"architecture": "D", "tensors": [group]}, {"n": 3, "kinds": ["full"]}))


def _places(default: Any, config: dict[str, Any]) -> tuple[int, ...]:
    """The layers where a list that the file leaves out says "a"."""
    domain = {"items": "kinds", "where": "kinds", "is": "a"}
    blueprint = {
        "architecture": "D",
        "absent": {"kinds": default},
        "tensors": [{"at": "l.*", "over": [domain], "tensors": {"w": ["other", 1]}}],
    }
    return wanted(blueprint, config).entries["l.*.w"][0].indices[0]


@pytest.mark.parametrize(
    ("default", "indices"),
    [
        ({"to": "n", "every": 3, "last": "a", "other": "b"}, (2, 5)),
        ({"to": "n", "every": "step", "offset": "at", "last": "a", "other": "b"}, (1, 5)),
        ({"to": "n", "every": 3, "last": "a", "other": "b", "final": "a"}, (2, 5, 6)),
        ({"to": "n", "first": "at", "head": "b", "rest": "a"}, (1, 2, 3, 4, 5, 6)),
        ({"to": "n", "first": 9, "head": "a", "rest": "b"}, (0, 1, 2, 3, 4, 5, 6)),
        ({"of": "letters", "map": [["A", "a"], ["-", "b"]]}, (0, 2)),
        ({"to": "n", "of": "letters", "map": [["A", "a"], ["-", "b"]]}, (0, 2, 3, 5, 6)),
    ],
)
def test_lists_that_the_class_fills_in(default: Any, indices: tuple[int, ...]) -> None:
    assert _places(default, {"n": 7, "step": 4, "at": 1, "letters": "A-A"}) == indices


def test_a_letter_or_a_word_never_tried() -> None:
    domain = {"to": "n", "where": "kinds", "is": "full"}
    blueprint = {
        "architecture": "D",
        "absent": {"kinds": {"of": "letters", "map": [["F", "full"]]}},
        "kinds": {"kinds": {"full": "full", "old": "full", "slow": "slow"}},
        "tensors": [{"at": "l.*", "over": [domain], "tensors": {"w": ["other", 1]}}],
    }
    kinds = wanted(blueprint, {"n": 3, "kinds": ["old", "slow", "full"]})
    assert kinds.entries["l.*.w"][0].indices == ((0, 2),)
    for config in ({"n": 1, "letters": "X"}, {"n": 1, "kinds": ["new"]}, {"n": 1, "kinds": [["full"]]}):
        assert "unusual" in str(expected(blueprint, config))
    for letters in (7, "", None, [1.5]):
        assert isinstance(expected(blueprint, {"n": 1, "letters": letters}), str)


def test_a_size_that_is_a_length() -> None:
    blueprint = {
        "architecture": "D",
        "absent": {"labels": {"length": "names"}, "names": {"value": {"0": "no", "1": "yes"}}},
        "tensors": [{"tensors": {"w": ["other", "labels"]}}],
    }
    for config, size in (
        ({}, 2),
        ({"names": {"0": "one"}}, 1),
        ({"names": ["a"] * 5}, 5),
        ({"labels": 7}, 7),
    ):
        assert wanted(blueprint, config).entries["w"][0].shape == (size,)
    assert "not a list" in str(expected(blueprint, {"names": "abc"}))


def test_another_backbone() -> None:
    blueprint = {
        "architecture": "D",
        "requires": {"text.type": ["llama"]},
        "tensors": [{"tensors": {"w": ["other", "size"]}}],
        "otherwise": [
            {"requires": {"text.type": ["mistral"]}, "tensors": [{"tensors": {"v": ["other", "size"]}}]}
        ],
    }
    assert wanted(blueprint, {"size": 1}).entries.keys() == {"w"}
    assert wanted(blueprint, {"size": 1, "text": {"type": "mistral"}}).entries.keys() == {"v"}
    assert "unusual" in str(expected(blueprint, {"size": 1, "text": {"type": "gemma"}}))


def test_gpt2_as_saved() -> None:
    """`save_pretrained` itself writes `n_inner: null`: GPT-2's layers are four times as wide as the model."""
    config = {"n_embd": 8, "n_layer": 1, "n_positions": 16, "vocab_size": 32}
    for inner, size in (({"n_inner": None}, 32), ({}, 32), ({"n_inner": 20}, 20)):
        entries = wanted(blueprints()["GPT2LMHeadModel"], config | inner).entries
        assert entries["transformer.h.*.mlp.c_fc.bias"][0].shape == (size,)


def test_a_flat_section() -> None:
    blueprint = {"architecture": "D", "flat": "text", "tensors": [{"tensors": {"w": ["other", "text.size"]}}]}
    for config in ({"size": 4}, {"text": {"size": 4}, "size": 5}):
        assert wanted(blueprint, config).entries["w"][0].shape == (4,)


# -- selection ------------------------------------------------------------------------------------------------------


def test_select() -> None:
    known = {"DemoForCausalLM": DENSE}
    config = {"architectures": ["DemoForCausalLM"], "model_type": "demo"}
    assert select(known, config) is DENSE
    assert isinstance(select(known, config | {"model_type": "other"}), str)
    assert isinstance(select(known, config | {"architectures": ["Unknown"]}), str)
    assert isinstance(select(known, config | {"architectures": "DemoForCausalLM"}), str)
    assert isinstance(select(known, config | {"auto_map": {"AutoModel": "x.Y"}}), str)
    assert select(known, config | {"auto_map": {"AutoModel": "x.Y"}}, own_code=True) is DENSE


# -- comparison -----------------------------------------------------------------------------------------------------


def test_a_complete_file() -> None:
    assert is_clean(dense(dense_tensors()))


def test_a_missing_tensor() -> None:
    tensors = dense_tensors()
    del tensors["model.layers.1.q.weight"]
    result = dense(tensors)
    assert [(row.template, row.indices, row.kind) for row in result.missing] == [
        ("model.layers.*.q.weight", (("1",),), "linear")
    ]
    assert list(result.missing[0].names) == ["model.layers.1.q.weight"]
    assert (result.found, result.expected) == (8, 9)


@pytest.mark.parametrize("absent", ["lm_head.weight", "model.embed.weight"])
def test_one_of_a_tied_pair_is_enough(absent: str) -> None:
    tensors = dense_tensors()
    del tensors[absent]
    assert is_clean(dense(tensors))
    assert [row.template for row in dense(tensors, tie=False).missing] == [absent]


def test_a_tied_pair_absent_is_missed_once() -> None:
    tensors = dense_tensors()
    del tensors["lm_head.weight"], tensors["model.embed.weight"]
    assert [row.template for row in dense(tensors).missing] == ["model.embed.weight"]


def test_a_wrong_shape() -> None:
    tensors = dense_tensors() | {"model.layers.2.k.weight": ("F16", (5, 8))}
    (row,) = dense(tensors).mismatched
    assert (row.name, row.total, row.got, row.expected) == ("model.layers.2.k.weight", 1, (5, 8), (4, 8))
    assert row.formula == "groups*head_dim x width"


def test_an_unknown_shape_is_not_judged() -> None:
    assert is_clean(dense(dense_tensors() | {"model.norm.weight": ("BF16", (3, 3))}))


def test_surplus_is_counted_not_missed() -> None:
    tensors = dense_tensors() | {"model.layers.3.q.weight": ("BF16", (8, 8)), "vision.weight": ("BF16", (1,))}
    result = dense(tensors)
    assert not result.missing
    assert {row.template: row.total for row in result.unexpected} == {
        "model.layers.*.q.weight": 1,
        "vision.weight": 1,
    }


def test_recomputed_buffers_are_passed_over() -> None:
    tensors: Tensors = {f"model.layers.{i}.rotary_emb.inv_freq": ("F32", (4,)) for i in range(3)}
    assert is_clean(dense(dense_tensors() | tensors | {"embeddings.position_ids": ("I64", (1, 4))}))


@pytest.mark.parametrize("drop", [True, False])
def test_the_base_prefix_may_be_absent(drop: bool) -> None:
    if not drop:
        tensors = {f"model.{name}": form for name, form in dense_tensors().items()}
        blueprint = DENSE | {"tensors": [_bare(group) for group in DENSE["tensors"]]}
        blueprint["tied"] = [{"names": ["embed.weight", "lm_head.weight"]}]
        assert is_clean(compare(wanted(blueprint, CONFIG), grouped(_once(tensors)), RULEBOOK))
        return
    result = dense({name.removeprefix("model."): form for name, form in dense_tensors().items()})
    assert is_clean(result)
    assert result.bare


def _bare(group: dict[str, Any]) -> dict[str, Any]:
    names = {name.removeprefix("model."): value for name, value in group["tensors"].items()}
    return group | {"tensors": names} | ({"at": group["at"].removeprefix("model.")} if "at" in group else {})


def _once(tensors: Tensors) -> Tensors:
    return {name.replace("model.model.", "model."): form for name, form in tensors.items()}


@pytest.mark.parametrize(
    "leaves",
    [
        ["weight", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4"],
        ["weight", "SCB", "weight_format"],
        ["qweight", "qzeros", "scales", "g_idx"],
        ["weight_packed", "weight_scale", "weight_shape", "weight_zero_point"],
        ["weight", "weight_scale_inv"],
        ["weight", "input_scale", "weight_scale"],
        ["weight", "scales", "biases"],
        ["_weight_qdata", "_weight_scale"],
        ["weight._data", "weight._scale", "input_scale", "output_scale"],
        ["W_q", "scale", "zero", "nbits", "axis"],
        ["qweight", "qzeros", "scales", "bias"],
    ],
)
def test_a_quantised_module_is_not_missing(leaves: list[str]) -> None:
    tensors = dense_tensors()
    for layer in range(3):
        del tensors[f"model.layers.{layer}.q.weight"]
        tensors |= {f"model.layers.{layer}.q.{leaf}": ("BF16", (32, 1)) for leaf in leaves}
    assert is_clean(dense(tensors))


def test_experts_one_by_one_and_in_a_block() -> None:
    assert is_clean(moe(moe_tensors()))
    assert is_clean(moe(fused_tensors()))


def test_a_block_may_be_stored_either_way_round() -> None:
    turned = {n: (d, (s[0], s[2], s[1]) if len(s) == 3 else s) for n, (d, s) in fused_tensors().items()}
    assert is_clean(moe(turned))
    (row,) = moe(fused_tensors() | {"model.layers.1.experts.up": ("BF16", (3, 5, 6))}).mismatched
    assert (row.got, row.expected) == ((3, 5, 6), (4, 5, 6))


def test_a_quantised_block() -> None:
    tensors = fused_tensors()
    for layer in (1, 2):
        for name in ("up", "down"):
            del tensors[f"model.layers.{layer}.experts.{name}"]
            tensors[f"model.layers.{layer}.experts.{name}_blocks"] = ("U8", (4, 5, 1, 3))
            tensors[f"model.layers.{layer}.experts.{name}_scales"] = ("U8", (4, 5, 1))
    assert is_clean(moe(tensors))


def test_a_missing_expert_and_a_missing_block() -> None:
    tensors = moe_tensors()
    del tensors["model.layers.2.experts.3.up.weight"]
    assert [(row.template, row.indices) for row in moe(tensors).missing] == [
        ("model.layers.*.experts.*.up.weight", (("2", "3"),))
    ]
    tensors = fused_tensors()
    del tensors["model.layers.2.experts.down"]
    assert [(row.template, row.indices) for row in moe(tensors).missing] == [
        ("model.layers.*.experts.down", (("2",),))
    ]


def test_experts_under_unknown_names_are_unclear() -> None:
    tensors: Tensors = {"model.layers.0.mlp.weight": ("BF16", (6, 6))}
    tensors |= {f"model.layers.{i}.switch_mlp.up.weight": ("BF16", (4, 5, 6)) for i in (1, 2)}
    result = moe(tensors)
    assert not result.missing
    assert {row.template for row in result.unclear} == {
        "model.layers.*.experts.*.up.weight",
        "model.layers.*.experts.*.down.weight",
    }


def test_other_prefixes_next_token_layers_and_ignored_names() -> None:
    tensors = {name.replace("model.", "model.text."): form for name, form in moe_tensors().items()}
    tensors |= {"model.layers.3.eh_proj.weight": ("BF16", (6, 12)), "mtp.norm.weight": ("BF16", (6,))}
    assert is_clean(moe(tensors))
    assert [row.template for row in moe(tensors, next=0).unexpected] == ["model.layers.*.eh_proj.weight"]


# -- the files ------------------------------------------------------------------------------------------------------


@cache
def blueprints() -> dict[str, dict[str, Any]]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}


def test_every_file_is_verified_and_parses() -> None:
    assert len(blueprints()) >= 45
    for name, blueprint in blueprints().items():
        assert blueprint["architecture"] == name
        assert blueprint["evidence"]["verified"] >= 3
        templates = [
            f"{group['at']}.{leaf}" if "at" in group else leaf
            for group in [*blueprint["tensors"], *blueprint.get("fused", ())]
            for leaf in group["tensors"]
        ]
        for group in [*blueprint["tensors"], *blueprint.get("fused", ())]:
            assert group.get("at", "").count("*") == len(group.get("over", ()))
            for _, *dims in group["tensors"].values():
                for dim in dims:
                    assert dim == "?" or isinstance(dim, int) or parse(dim)
        for group in blueprint.get("tied", ()):
            assert set(group["names"]) <= set(templates)


def test_llama_by_hand() -> None:
    """The figures of Llama-3.1-8B: 291 tensors, 8,030,261,248 parameters."""
    config = {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    }
    result = wanted(blueprints()["LlamaForCausalLM"], config)
    parameters = 0
    for entries in result.entries.values():
        for entry in entries:
            assert entry.shape is not None
            size = 1
            for dimension in entry.shape:
                size *= dimension
            parameters += size * entry.total
    assert (result.total, parameters) == (291, 8_030_261_248)


def _stored(folder: Path) -> Tensors:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return dict.fromkeys(json.loads(index.read_text(encoding="utf-8"))["weight_map"], ("U8", ()))
    tensors: Tensors = {}
    for path in folder.glob("*.header.json"):
        header = json.loads(path.read_text(encoding="utf-8"))["header"]
        tensors |= {n: (v["dtype"], tuple(v["shape"])) for n, v in header.items() if n != "__metadata__"}
    return tensors


def agreeing() -> list[Path]:
    """Folders where transformers was seen to build exactly the tensors that are stored."""
    root = os.environ.get("CKPTDOCTOR_CORPUS")
    if not root:
        return []
    with (Path(root) / "PROVENANCE.tsv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Path(root) / "data" / row["slug"] for row in listed if row["meta_check"] == "AGREE"]


AGREEING = agreeing()


@pytest.mark.skipif(not AGREEING, reason="CKPTDOCTOR_CORPUS does not name a corpus directory")
def test_real_files_hold_what_their_config_calls_for() -> None:
    """Rows where transformers itself was seen to agree: whatever is described must agree here too."""
    judged = 0
    for folder in AGREEING:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        blueprint = select(blueprints(), config, own_code=True)
        if isinstance(blueprint, str):
            continue
        result = expected(blueprint, config)
        assert isinstance(result, Expected), f"{folder.name}: {result}"
        comparison = compare(result, grouped(_stored(folder)), RULEBOOK)
        assert is_clean(comparison), f"{folder.name}: {comparison}"
        judged += 1
    assert judged >= 0.9 * len(AGREEING)


def _parameters(result: Expected, tensors: Tensors) -> int | None:
    """The parameters of the stored tensors by described shapes, None where one is not described."""
    total = 0
    for name in tensors:
        template, index = starred(name)
        for entry in result.entries.get(template, ()):
            if entry.shape is not None and all(
                i in known for i, known in zip(index, entry.indices, strict=True)
            ):
                total += prod(entry.shape)
                break
        else:
            return None
    return total


@pytest.mark.skipif(not AGREEING, reason="CKPTDOCTOR_CORPUS does not name a corpus directory")
def test_described_shapes_add_up_to_the_real_size() -> None:
    """An index states the bytes of all tensors; in 16 or 32 bit that is exactly 2 or 4 per parameter."""
    exact, judged = 0, 0
    for folder in AGREEING:
        index = folder / "model.safetensors.index.json"
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        stated = json.loads(index.read_text(encoding="utf-8")).get("metadata", {}) if index.exists() else {}
        blueprint = select(blueprints(), config, own_code=True)
        if not stated.get("total_size") or isinstance(blueprint, str) or "quantization_config" in config:
            continue
        parameters = _parameters(wanted(blueprint, config), _stored(folder))
        if parameters:
            judged += 1
            exact += stated["total_size"] in (2 * parameters, 4 * parameters)
    assert judged >= 0.5 * len(AGREEING)
    # One Llama-3 keeps its q/k/v projections in 32 bit and the rest in 16.
    assert exact >= judged - 1


def test_starred() -> None:
    assert starred("model.layers.12.experts.3.w1.weight") == ("model.layers.*.experts.*.w1.weight", (12, 3))
    assert starred("h.0.attn.c_attn.weight") == ("h.*.attn.c_attn.weight", (0,))
    assert starred("0.auto_model.x2.weight") == ("*.auto_model.x2.weight", (0,))
