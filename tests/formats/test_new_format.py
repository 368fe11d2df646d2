"""The recipe "a format" of CONTRIBUTING.md, followed to the letter: one YAML and one file, and nothing else."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptdoctor import formats
from ckptdoctor.formats import registry
from ckptdoctor.formats.base import Said
from ckptdoctor.formats.declared import preferred
from ckptdoctor.model import Finding, Report
from ckptdoctor.render import Page
from ckptdoctor.render.text import render
from ckptdoctor.rulebook import compile, files
from ckptdoctor.ruledata import Rulebook, rulebook_from
from ckptdoctor.sources.memory import MemorySource
from tests.support.shipped import RULEBOOK, check_source, load, parse_target

from ..conftest import ROOT
from ..support.headers import shard

TOY = Path(__file__).parent / "toy"
LAYERS = [f"model.layers.{number}.mlp.down_proj" for number in range(2)]
Tensors = dict[str, tuple[str, tuple[int, ...]]]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Rulebook:
    """Compile the rules with the format's YAML among them."""
    rules = tmp_path_factory.mktemp("tree") / "rules"
    shutil.copytree(ROOT / "rules", rules, ignore=shutil.ignore_patterns("architectures"))
    shutil.copy(TOY / "threes.yaml", rules / "formats")
    return rulebook_from(compile.hot(files.read(rules)), RULEBOOK.read)


@pytest.fixture
def rulebook(compiled: Rulebook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rulebook]:
    """Put the format's file where the registry looks."""
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(TOY)])
    yield compiled
    sys.modules.pop("ckptdoctor.formats.threes", None)


def packed(*modules: str) -> Tensors:
    return {
        name: about
        for module in modules
        for name, about in (
            (f"{module}.trits", ("U8", (64, 32))),
            (f"{module}.steps", ("F16", (64, 2))),
        )
    }


def source(tensors: Tensors, **block: object) -> MemorySource:
    config = {"model_type": "llama", "quantization_config": {"quant_method": "threes", "per": 64, **block}}
    return MemorySource(
        "model", {"config.json": json.dumps(config).encode(), "model.safetensors": shard(tensors)}
    )


def check(rulebook: Rulebook, tensors: Tensors, **block: object) -> Report:
    report = check_source(source(tensors, **block), [parse_target("sglang")], rulebook)
    assert not report.crashes
    return report


def about(report: Report) -> dict[str, Finding]:
    return {finding.rule: finding for finding in report.findings}


def test_it_is_recognised_and_shown(rulebook: Rulebook) -> None:
    report = check(rulebook, packed(*LAYERS))
    assert (report.schemes, report.findings) == (("threes",), ())
    assert "threes" in render([report], Page())


def test_it_is_declared(rulebook: Rulebook) -> None:
    declared = preferred(load(source(packed(*LAYERS)), rulebook))
    assert declared is not None
    format_ = registry.of(declared, rulebook)
    assert (format_.name, format_.said(declared)) == ("threes", Said(2, 64))


def test_its_layout_follows_from_its_numbers(rulebook: Rulebook) -> None:
    layout = registry.named("threes", rulebook).layout({"per": 32})
    assert layout is not None
    assert layout.parts(64, 128) == {"trits": (64, 32), "steps": (64, 4)}


@pytest.mark.parametrize(
    ("tensors", "block", "rule", "message"),
    [
        (
            packed(*LAYERS),
            {"per": 32},
            "quant/declared-group",
            "groups of 64 (threes), but config.json says 32",
        ),
        (
            {
                name: about
                for name, about in packed(*LAYERS).items()
                if not name.endswith("0.mlp.down_proj.steps")
            },
            {},
            "quant/scale-missing",
            "steps",
        ),
        (packed(*LAYERS), {"leave_out": [LAYERS[1]]}, "quant/listed-and-quantised", LAYERS[1]),
        (
            {**packed(LAYERS[0]), f"{LAYERS[1]}.weight": ("BF16", (64, 128))},
            {"leave_out": ["lm_head"]},
            "quant/dense-unlisted",
            LAYERS[1],
        ),
        (
            {
                f"{LAYERS[0]}.qweight": ("I32", (16, 64)),
                f"{LAYERS[0]}.scales": ("F16", (2, 64)),
                f"{LAYERS[0]}.qzeros": ("I32", (2, 8)),
            },
            {},
            "quant/scheme-differs",
            "gptq",
        ),
    ],
)
def test_it_is_compared(
    rulebook: Rulebook, tensors: Tensors, block: dict[str, object], rule: str, message: str
) -> None:
    found = about(check(rulebook, tensors, **block))
    assert message in found[rule].message


def test_a_repair_writes_its_list(rulebook: Rulebook) -> None:
    tensors = {**packed(LAYERS[0]), f"{LAYERS[1]}.weight": ("BF16", (64, 128))}
    ckpt = load(source(tensors), rulebook)
    declared = preferred(ckpt)
    assert declared is not None
    assert list(registry.of(declared, rulebook).leave_out({"leave_out": ["lm_head"]}, [LAYERS[1]])) == [
        ("/leave_out", ["lm_head", LAYERS[1]])
    ]
