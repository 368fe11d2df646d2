"""Which classes each vLLM lists: the script that reads its registry, and the table it wrote."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest

from ckptdoctor import ruledata
from ckptdoctor.loaders.facts import in_words
from ckptdoctor.ruledata import matches, parse_version

from ..conftest import ROOT
from ..support import intervals

sys.path.insert(0, str(ROOT / "scripts"))

import vllm_registries

ROWS = ruledata.load().loaders["vllm"]["architectures"]

REGISTRY = """
import os
_TEXT = {"AForCausalLM": ("a", "A"), "LlamaForCausalLM": ("llama", "LlamaForCausalLM")}
_EMBEDDING: dict[str, tuple[str, str]] = {
    "BModel": ("b", "B"),
    **{k: (mod, arch) for k, (mod, arch) in _TEXT.items() if arch == "LlamaForCausalLM"},
}
_GONE = {"OldForCausalLM": "0.23.0"}
_VLLM_MODELS = {**_TEXT, **_EMBEDDING}
os.abort()
"""


def test_a_registry_is_read_and_not_run() -> None:
    assert vllm_registries.listed(REGISTRY) == {"AForCausalLM", "LlamaForCausalLM", "BModel"}


@pytest.mark.parametrize("entry", ["**make()", "NAME: 1", "**[1]"])
def test_a_registry_of_another_form_stops_the_script(entry: str) -> None:
    with pytest.raises(SystemExit, match=r"line 1: (cannot read|expected a)"):
        vllm_registries.listed(f"_VLLM_MODELS = {{{entry}}}")


def test_between_versions_that_differ_nothing_is_said() -> None:
    present = {"0.9.2": {"A", "B"}, "0.10.0": {"A"}, "0.11.0": {"A", "B", "C"}, "0.12.0": {"A", "C"}}
    table = vllm_registries.intervals(present)
    assert table == {
        ("0.9.2", ""): ["A"],
        ("0.9.2", "0.9.2"): ["B"],
        ("0.11.0", "0.11.0"): ["B"],
        ("0.11.0", ""): ["C"],
    }


def test_the_table_is_put_in_the_place_of_the_old_one() -> None:
    text = "a: 1\narchitectures:  # old\n  - {x: 1}\n\nb:\n  - 2\n"
    new = vllm_registries.block({"0.9.2": {"A"}, "0.10.0": {"A"}})
    assert vllm_registries.spliced(text, new) == f"a: 1\n{new}b:\n  - 2\n"
    assert '{versions: ">=0.9.2", evidence: source, names: A}' in new


def test_intervals_of_one_class_are_disjoint() -> None:
    for name in {name for row in ROWS for name in row["names"].split()}:
        spans = sorted(_ends(row["versions"]) for row in ROWS if name in row["names"].split())
        assert all(before[1] < after[0] for before, after in pairwise(spans)), name


def _ends(spec: list[tuple[str, list[int]]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    bounds = {sign: tuple(bound) for sign, bound in spec}
    low = bounds.get("==", bounds.get(">="))
    assert low is not None
    return low, bounds.get("==", bounds.get("<=", (999,)))


# What vLLM 0.33.0 itself says of classes it has dropped (_PREVIOUSLY_SUPPORTED_MODELS), and what its releases added.
LAST = {
    "Phi3SmallForCausalLM": "0.9.2",
    "MllamaForConditionalGeneration": "0.10.2",
    "Phi4MultimodalForCausalLM": "0.12.0",
    "XverseForCausalLM": "0.23.0",
    "Grok1ForCausalLM": "0.24.0",
    "OuroForCausalLM": "0.26.0",
    "GritLM": "0.28.0",
}


@pytest.mark.parametrize(("name", "last"), LAST.items())
def test_classes_end_where_vllm_says_so(name: str, last: str) -> None:
    assert [in_words(r["versions"]).split(" – ")[-1] for r in ROWS if name in r["names"].split()] == [last]


def test_llama_is_everywhere() -> None:
    releases = ruledata.load().loaders["vllm"]["releases"]["vllm"]
    (row,) = [row for row in ROWS if "LlamaForCausalLM" in row["names"].split()]
    assert all(matches(row["versions"], version) for version in releases)
    assert max(releases, key=parse_version) == "0.33.0"


def test_the_reason_names_the_versions_that_list_it() -> None:
    entry = next(e for e in intervals.entries() if e.case.id == "vllm-class-dropped")
    from tests.support.shipped import check_source, parse_target

    report = check_source(intervals.held(entry.case), [parse_target("vllm==0.24.0")])
    assert report.verdicts[0].reason == (
        "vLLM's registry is known to list XverseForCausalLM only in 0.6.4 – 0.23.0"
    )
