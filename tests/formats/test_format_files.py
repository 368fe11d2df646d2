"""Format files that are wrong: what is refused, with file and line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptdoctor.rulebook import compile
from ckptdoctor.ruledata import RulebookError

from ..conftest import ROOT

RULES = ROOT / "rules"
HEAD = "summary: A sample for this test\nreferences: [https://example.com]\n"
OWN = (
    "own_schemes:\n  {name}:\n    summary: A sample\n    references: [https://example.com]\n"
    "    identify: {{codes: []}}\n    roles: {{codes: {{}}}}\n    examples: [{{tensors: {{codes: [U8, [1]]}}}}]\n"
)


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[dict[str, str]], dict[str, str]]:
    """Compile a rulebook of the known schemes and these formats."""

    def build(formats: dict[str, str]) -> dict[str, str]:
        rules = tmp_path / "rules"
        shutil.copytree(RULES / "schemes", rules / "schemes")
        for path in RULES.glob("*.*"):
            shutil.copy(path, rules)
        (rules / "observed.yaml").write_text("{}\n")
        (rules / "formats").mkdir()
        for name, text in formats.items():
            (rules / "formats" / f"{name}.yaml").write_text(HEAD + text)
        return compile.compile_rules(rules)

    return build


BAD = {
    "unknown key": ({"one": "methds: [one]\n"}, "rules/formats/one.yaml:3: methds: unknown key 'methds'"),
    "unknown scheme": (
        {"one": "schemes: [gptq, gpt]\n"},
        "rules/formats/one.yaml:3: schemes: there is no scheme 'gpt' in rules/schemes",
    ),
    "unknown scheme of a word": (
        {"one": "words:\n  FP8: {schemes: [fp9]}\n"},
        "rules/formats/one.yaml:4: words/FP8: there is no scheme 'fp9'",
    ),
    "one method, two formats": (
        {"one": "methods: [same]\n", "two": "methods: [same]\n"},
        "rules/formats/two.yaml:3: methods: 'same' is a method of one",
    ),
    "a spelling of nothing": (
        {"one": "spellings: [oen]\n"},
        "rules/formats/one.yaml:3: spellings: of which method?",
    ),
    "two for blocks without a method": (
        {"one": "unnamed: true\n", "two": "unnamed: true\n"},
        "rules/formats/two.yaml:3: unnamed: one is that already",
    ),
    "unknown dialect": ({"one": "skips: {keys: {ignore: regex}}\n"}, "'regex' is not one of"),
    "a scheme that is there already": (
        {"one": OWN.format(name="gptq")},
        "rules/formats/one.yaml:4: own_schemes: rules/schemes has 'gptq' already",
    ),
    "a bad scheme of its own": (
        {"one": OWN.format(name="mine").replace("identify", "identfy")},
        "rules/formats/one.yaml:7: identfy: unknown key 'identfy'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str, compiled: Callable[[dict[str, str]], dict[str, str]]) -> None:
    formats, message = BAD[case]
    with pytest.raises(RulebookError) as caught:
        compiled(formats)
    assert message in str(caught.value)


def test_what_is_taken(compiled: Callable[[dict[str, str]], dict[str, str]]) -> None:
    assert (
        '"methods":{"one":"one"}'
        in compiled({"one": f"methods: [one]\n{OWN.format(name='mine')}"})["hot.json"]
    )
