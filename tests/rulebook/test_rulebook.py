"""Rule files: what is refused, with which file and line; versions; recipes; the compiled form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from safetensors import deserialize

from ckptdoctor import ruledata
from ckptdoctor.rulebook import catalogue, compile, examples, files, recipe, versions
from ckptdoctor.rulebook.document import Document
from ckptdoctor.ruledata import RulebookError, matches, parse_version
from ckptdoctor.sources.base import Span

from ..conftest import ROOT

RULES = ROOT / "rules"
CARD = """\
kind: defect
severity: error
summary: A sample for this test
why: It stands for any card.
how_to_fix: Nothing to do.
since: 0.1.0
status: preview
check: container.defect
message: "{file} is a sample"
references: []
examples:
  bad: [{config: {}, expect: [x]}]
  good: [{config: {}}]
"""


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Compile a rulebook with one card, ``rules/sample/card.yaml``."""

    def build(card: str) -> dict[str, str]:
        rules = tmp_path / "rules"
        (rules / "sample").mkdir(parents=True)
        for schema in RULES.glob("*.schema.json"):
            shutil.copy(schema, rules)
        (rules / "sample" / "card.yaml").write_text(card)
        return compile.compile_rules(rules)

    return build


BAD_CARDS = {
    "typo": ("summary:", "sumary:", 3, "unknown key 'sumary'"),
    "severity missing": ("severity: error\n", "", 1, "severity"),
    "severity of a reading": ("kind: defect", "kind: reading", 1, "severity"),
    "wrong word": ("severity: error", "severity: fatal", 2, "'fatal' is not one of"),
    "twice": ("status: preview", "status: preview\nstatus: stable", 8, "given twice"),
    "stable without source": ("status: preview", "status: stable", 10, "references"),
    "not YAML": ("check: container.defect", "check: [", 10, "not YAML"),
    "check": ("container.defect", "container", 8, "check"),
    "placeholder in prose": ("Nothing to do.", "Set {key}.", 5, "no {key} here"),
    "brace": ('"{file} is', '"{File} is', 9, "brace"),
    "id": ("kind: defect", "id: other/card\nkind: defect", 1, "'sample/card'"),
    "recipe": ("bad: [{config: {}, ", "bad: [{confg: {}, ", 12, "'confg'"),
    "dtype row": ("good: [{config: {}}]", "good: [{tensors: {a: [BF16, [x]]}}]", 13, "'x'"),
    "no good": ("  good: [{config: {}}]\n", "", 11, "good"),
    "version": ("references", 'outcomes: {vllm: [{versions: "=>1", outcome: ok}]}\nreferences', 10, "'=>1'"),
    "version as number": (
        "references",
        "outcomes: {vllm: [{versions: 0.1, outcome: ok}]}\nreferences",
        10,
        "0.1",
    ),
    "empty interval": (
        "references",
        'outcomes: {vllm: [{versions: ">=2,<1", outcome: ok}]}\nreferences',
        10,
        "no version",
    ),
    "yields to nothing": (
        "references",
        "yields_to: [sample/none]\nreferences",
        10,
        "no other rule 'sample/none'",
    ),
    "yields to itself": (
        "references",
        "yields_to: [sample/card]\nreferences",
        10,
        "no other rule 'sample/card'",
    ),
    "decided by whom": ("references", "decided_by: loader\nreferences", 10, "'model' was expected"),
    "change of nothing": ("good: [{config: {}}]", "good: [{change: {}}]", 13, "of nothing"),
    "base of nobody": ("  good: [", "  base: {config: {}}\n  good: [", 13, "no example changes it"),
    "change beside a recipe": (
        "good: [{config: {}}]",
        "base: {config: {}}\n  good: [{change: {}, config: {}}]",
        14,
        "config",
    ),
    "change to no recipe": (
        "good: [{config: {}}]",
        "base: {config: {}}\n  good: [{change: {confg: {}}}]",
        14,
        "'confg'",
    ),
    "never reached": (
        "references",
        'outcomes:\n  any:\n    - {versions: ">=1", outcome: ok}\n    - {versions: ">1", outcome: fails}\nreferences',
        13,
        "row 2 is never reached",
    ),
}


@pytest.mark.parametrize("name", BAD_CARDS)
def test_bad_card_names_file_and_line(name: str, compiled: Callable[[str], dict[str, str]]) -> None:
    old, new, line, words = BAD_CARDS[name]
    assert old in CARD
    with pytest.raises(RulebookError) as caught:
        compiled(CARD.replace(old, new))
    assert caught.value.file == "rules/sample/card.yaml"
    assert caught.value.line == line
    assert words in caught.value.message
    assert str(caught.value).startswith(f"rules/sample/card.yaml:{line}: ")


def test_good_card_compiles(compiled: Callable[[str], dict[str, str]]) -> None:
    text = CARD.replace(
        "references", 'outcomes: {any: [{versions: ">=1,<2", when: {a: 1}, outcome: ok}]}\nreferences'
    )
    rulebook = ruledata.rulebook_from(json.loads(compiled(text)["hot.json"]), lambda name: None)
    [card] = rulebook.cards
    assert card.id == "sample/card"
    [row] = card.outcomes["any"]
    assert row == ruledata.Row((("<", (2,)), (">=", (1,))), {"a": 1}, "ok", (), ())
    assert ruledata.first_row(card.outcomes["any"], "1.5", {"a": 1}) == row
    assert ruledata.first_row(card.outcomes["any"], "1.5", {"a": 2}) is None
    assert ruledata.first_row(card.outcomes["any"], "2.0", {"a": 1}) is None


def test_a_change_is_of_the_shared_base() -> None:
    text = """
base: {config: {a: 1, b: {c: 2, d: 3}}, tensors: {x: [F32, [2]], y: [F32, [3]]}}
bad: [{change: {config: {b: {c: 4, d: null}}, tensors: {x: null, z: [F32, [1]]}}, expect: [told]}]
good: [{change: {}}, {config: {}}]
"""
    card = Document("card.yaml", {"examples": yaml.safe_load(text)}, {})
    assert examples.written_out(card).value["examples"] == {
        "bad": [
            {
                "config": {"a": 1, "b": {"c": 4}},
                "tensors": {"y": ["F32", [3]], "z": ["F32", [1]]},
                "expect": ["told"],
            }
        ],
        "good": [yaml.safe_load(text)["base"], {"config": {}}],
    }


def test_scalars_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    from ckptdoctor.rulebook.document import load

    path = tmp_path / "x.yaml"
    path.write_text("a: [no, yes, on, 2026-01-02, 12:30, 010, 1_000, '1', true, null, 1, -1.5, 1e3, ~]\n")
    value = load(path, "x.yaml").value
    assert value == {
        "a": ["no", "yes", "on", "2026-01-02", "12:30", "010", "1_000", "1", True, None, 1, -1.5, 1e3, None]
    }


VERSIONS = [
    "0.6.3",
    "0.6.3.post1",
    "0.6.3.1",
    "0.28.0rc1",
    "0.28",
    "0.28.0",
    "0.27.1",
    "0.8.5+cu124",
    "4.9.0.dev0",
]
VERSIONS += ["2025.3.10", "2025.10.3", "0.10.1.1", "v1.2", "1.0.post2"]
SPECS = [
    "==0.28.0",
    ">=0.28",
    "!=0.28.0",
    "<=0.27.1",
    ">0.27.1",
    "~=0.6.3",
    "~=0.6",
    "==0.6.*",
    ">=2025.3.10,<2025.10",
]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("version", VERSIONS)
def test_versions_agree_with_packaging(spec: str, version: str) -> None:
    """The same answer as PEP 440 (which leaves 1.0rc1 out of <1.0; here it is just below)."""
    expected = SpecifierSet(spec).contains(Version(version), prereleases=True)
    assert matches(versions.compile_spec(spec), version) is expected


def test_versions_are_ordered() -> None:
    ordered = [
        "0.6",
        "0.6.3rc1",
        "0.6.3",
        "0.6.3.post1",
        "0.6.3.post2",
        "0.6.3.1",
        "0.6.4.dev1",
        "0.6.4",
        "0.10",
        "1",
    ]
    keys = [parse_version(version) + (0,) * (6 - len(parse_version(version))) for version in ordered]
    assert keys == sorted(keys)
    assert parse_version("0.8.5") == (0, 8, 5)


@pytest.mark.parametrize("text", ["", "main", "1.x", "1.0-", "٣"])
def test_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        parse_version(text)


def test_recipe_is_a_real_checkpoint() -> None:
    """The reference reader accepts what a recipe writes, value for value."""
    source = recipe.build(
        {
            "as": "X-bnb-4bit",
            "config": {"a": "é"},
            "tensors": {
                "layers.{0..1}.q": ["BF16", [2, 3]],
                "state": {"dtype": "U8", "json": {"quant_type": "nf4"}},
                "scale": {"dtype": "F32", "shape": [2], "values": [1, 2.5]},
                "ones": {"dtype": "BF16", "shape": [3], "fill": 1},
            },
            "index": True,
        }
    )
    assert source.label == "X-bnb-4bit"
    raw, index, config = source.read_many(
        [Span(name, 0, None) for name in ("model.safetensors", "model.safetensors.index.json", "config.json")]
    )
    assert isinstance(raw, bytes)
    assert isinstance(index, bytes)
    assert isinstance(config, bytes)
    tensors = dict(deserialize(raw))
    assert {name: (t["dtype"], t["shape"]) for name, t in tensors.items()} == {
        "layers.0.q": ("BF16", [2, 3]),
        "layers.1.q": ("BF16", [2, 3]),
        "state": ("U8", [21]),
        "scale": ("F32", [2]),
        "ones": ("BF16", [3]),
    }
    assert bytes(tensors["state"]["data"]) == b'{"quant_type": "nf4"}'
    assert bytes(tensors["scale"]["data"]) == b"\0\0\x80\x3f\0\0\x20\x40"
    assert bytes(tensors["ones"]["data"]) == b"\x80\x3f" * 3
    assert json.loads(index)["metadata"]["total_size"] == 12 * 2 + 21 + 8 + 6
    assert json.loads(config) == {"a": "é"}


def test_recipe_of_a_huge_tensor_takes_no_memory() -> None:
    source = recipe.build({"tensors": {"w": ["F32", [1 << 20, 1 << 20]]}})
    size = source.entries()["model.safetensors"].size
    assert size > 1 << 42
    assert source.read_many([Span("model.safetensors", size - 16, None)]) == [bytes(16)]


def test_recipe_files() -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 4567\n"
    source = recipe.build(
        {
            "files": {
                "a": pointer,
                "b": {"size": 9},
                "c": {"size": 0, "state": "link-out"},
                "d": {"hex": "00 ff"},
            },
            "shards": {
                "e.safetensors": {"header": '{"a":1,"a":2}', "data": 4, "length": 3},
                "f.safetensors": {"tensors": {"w": ["U8", [4]]}, "metadata": None, "extra": -3},
            },
        }
    )
    entries = source.entries()
    assert entries["a"] == (4567, "pointer", "ab" * 32)
    assert entries["b"] == (9, "absent", None)
    assert entries["c"] == (0, "link-out", None)
    d, e, f = source.read_many([Span(name, 0, None) for name in ("d", "e.safetensors", "f.safetensors")])
    assert d == b"\0\xff"
    assert e == b"\3" + bytes(7) + b'{"a":1,"a":2}' + bytes(4)
    assert f == b'\x38\0\0\0\0\0\0\0{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}   \0'


def test_merge_patch() -> None:
    before = {"as": "a", "config": {"x": 1, "y": {"z": 2}}, "tensors": {"w": ["U8", [1]]}}
    delta = {"as": "b", "config": {"x": None, "y": {"q": 3}}, "tensors": {"w": ["I8", [1]]}}
    after = {"as": "b", "config": {"y": {"z": 2, "q": 3}}, "tensors": {"w": ["I8", [1]]}}
    assert recipe.patched(before, delta) == after


def test_rules_compile_and_load() -> None:
    rulebook = ruledata.load()
    book = files.read(RULES)
    assert [card.id for card in rulebook.cards] == list(book.cards)
    assert set(rulebook.loaders) == set(book.loaders)
    for card in rulebook.cards:
        assert rulebook.prose(card.id)["summary"]
    for name in book.architectures:
        assert rulebook.architecture(name)
    assert rulebook.architecture("NoSuchModel") is None
    assert rulebook.architecture("../hot") is None


def test_summaries_differ() -> None:
    book = files.read(RULES)
    summaries = [book.card(rule)["summary"] for rule in book.cards]
    assert len(set(summaries)) == len(summaries)


def test_catalogue_is_fresh(generated: Callable[[Path, str], None]) -> None:
    generated(RULES / "README.md", catalogue.markdown(files.read(RULES)))


def test_source_tree_compiles_once_per_content(tmp_path: Path) -> None:
    """A second run reads the cache; a touched rule makes a new one; an unwritable cache changes nothing."""
    tree = tmp_path / "tree"
    shutil.copytree(
        ROOT / "ckptdoctor", tree / "ckptdoctor", ignore=shutil.ignore_patterns("__pycache__", "_rulebook")
    )
    shutil.copytree(RULES, tree / "rules")
    code = "from ckptdoctor import ruledata; import sys; print(ruledata.load().digest, 'yaml' in sys.modules)"

    def run(cache: Path) -> list[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(tree)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    cache = tmp_path / "cache"
    digest, compiled = run(cache)
    assert compiled == "True"
    assert run(cache) == [digest, "False"]
    card = next((tree / "rules").glob("*/header-length.yaml"))
    card.write_text(card.read_text().replace('message: "', 'message: "so '))
    changed, compiled = run(cache)
    assert changed != digest
    assert compiled == "True"
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder should be")
    assert run(blocked) == [changed, "True"]
