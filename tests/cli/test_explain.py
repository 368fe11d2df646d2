"""explain: rule ids, bare messages, other exception classes, tracebacks; every card's own texts lead back to it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ckptdoctor import ruledata
from ckptdoctor.explain import search
from ckptdoctor.rulebook.patterns import PLACEHOLDER, compile_text
from tests.support.shipped import RULEBOOK, explain

TEXTS = {
    "bnb/plain-loader": "KeyError: '{module}.weight.absmax'",
    "bnb/key": "KeyError: 'blocksize'",
    "shape/mismatch": "size mismatch for {tensor}: copying a param with shape {shape} from checkpoint",
    "shape/assert": "AssertionError: assert param_data.shape == loaded_weight.shape",
    "header/too-large": "SafetensorError: Error while deserializing header: HeaderTooLarge",
    "header/any": "SafetensorError: Error while deserializing header: {any}",
    "method/unknown": "Unknown quantization type, got {method} - supported types are: {{'a': 1}}",
    "tp/split": "output_size {int} is not divisible by weight quantization block_n = 128",
}
PATTERNS: list[dict[str, Any]] = [
    {"rule": rule, "text": text, "loader": None, **compile_text(text)._asdict()}
    for rule, text in TEXTS.items()
]
TRACEBACK = """\
(EngineCore_0 pid=4711) ERROR 11-24 06:00:01 [core.py:700] EngineCore failed to start.
Traceback (most recent call last):
  File "/usr/lib/python3.12/site-packages/vllm/v1/engine/core.py", line 691, in run_engine_core
    engine_core = EngineCoreProc(*args, **kwargs)
  File "/usr/lib/python3.12/site-packages/vllm/model_executor/models/llama.py", line 460, in load_weights
    param = params_dict[name]
            ~~~~~~~~~~~^^^^^^
\x1b[31mKeyError: 'layers.24.mlp.down_proj.weight.absmax'\x1b[0m

The above exception was the direct cause of the following exception:

RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""

SEARCHES = {
    "KeyError: 'layers.24.mlp.down_proj.weight.absmax'": "bnb/plain-loader",
    "RuntimeError: 'layers.24.mlp.down_proj.weight.absmax'": "bnb/plain-loader",
    "layers.24.mlp.down_proj.weight.absmax": "bnb/plain-loader",
    "  layers.3.weight.absmax  \n\n": "bnb/plain-loader",
    TRACEBACK: "bnb/plain-loader",
    "KeyError: 'blocksize'": "bnb/key",
    "  blocksize": "bnb/key",
    "RuntimeError: Error(s) in loading state_dict for Llama:\n\tsize mismatch for model.layers.0.q: copying a param "
    "with shape torch.Size([1, 2]) from\ncheckpoint, the shape in current model is [3]": "shape/mismatch",
    "assert param_data.shape == loaded_weight.shape": "shape/assert",
    "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge": "header/too-large",
    "SafetensorError: Error while deserializing header: invalid UTF-8 at line 1": "header/any",
    "HeaderTooLarge": "header/too-large",
    "unknown quantization type, got `fp8` - supported types are: {{'a': 1}}": "method/unknown",
    "ValueError: output_size 80 is not divisible by weight quantization block_n = 256": "tp/split",
}


@pytest.mark.parametrize("query", SEARCHES)
def test_best_match(query: str) -> None:
    assert search(query, PATTERNS)[0].rule == SEARCHES[query]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "KeyError",
        "hello world, nothing here",
        "KeyError: ",
        "{",
        "\x00" * 50,
        "the blocksize is wrong",
    ],
)
def test_no_match(query: str) -> None:
    assert search(query, PATTERNS) == []


def test_more_specific_text_comes_first() -> None:
    rules = [
        c.rule for c in search("SafetensorError: Error while deserializing header: HeaderTooLarge", PATTERNS)
    ]
    assert rules == ["header/too-large", "header/any"]


def test_a_repeated_size_is_one_number() -> None:
    text = "size mismatch: shape [{int}, {size}] from checkpoint, in current model [{int}, {size}]"
    pattern = {"rule": "a/rank", "text": text, "loader": None, **compile_text(text)._asdict()}
    query = "size mismatch: shape [4, {}] from checkpoint, in current model [8, 128]"
    assert [c.exact for c in search(query.format(128), [pattern])] == [True]
    assert not any(c.exact for c in search(query.format(64), [pattern]))


def test_texts_of_one_rule_add_up() -> None:
    """A table and the error below it: the rule that knows both comes before one with a longer single text."""
    texts = {"a/both": ["lm_head | MISSING", "see the report above"], "b/one": ["see the report above"]}
    patterns = [
        {"rule": rule, "text": text, "loader": None, "known": number, **compile_text(text)._asdict()}
        for number, (rule, several) in enumerate(texts.items())
        for text in several
    ]
    query = "Key | Status\nlm_head | MISSING\nRuntimeError: see the report above\n"
    assert [candidate.rule for candidate in search(query, patterns)] == ["a/both", "b/one"]
    overlapping = [*patterns, {**patterns[0], **compile_text("the report")._asdict(), "text": "the report"}]
    alone = search("see the report above", overlapping)
    assert [candidate.score for candidate in alone] == [17, 17]


def test_closest_wording_is_marked() -> None:
    [close] = search("assertion on param_data shape against loaded_weight shape", PATTERNS)[:1]
    assert (close.rule, close.exact) == ("shape/assert", False)
    assert all(candidate.exact for candidate in search(TRACEBACK, PATTERNS))


def test_matched_part_is_given() -> None:
    [first, *_] = search(TRACEBACK, PATTERNS)
    assert first.matched.strip("'") == "layers.24.mlp.down_proj.weight.absmax"
    assert first.pattern == TEXTS["bnb/plain-loader"]


@pytest.mark.parametrize(
    "line", ["a" * 200_000, "size mismatch for " * 10_000, "x.y-" * 50_000 + ".weight.absmax"]
)
def test_long_input_takes_no_time(line: str) -> None:
    start = time.process_time()
    search(line, PATTERNS)
    assert time.process_time() - start < 2


NO_PLACE = (
    "ValueError: There is no module or parameter named 'layers.3.mlp.down_proj.{}' in LlamaModel. The available "
    "parameters belonging to layers.3.mlp.down_proj (RowParallelLinear) are: {{{}}}"
)
PLACES = {
    # A module that vLLM built plain was handed a part: it is listed, or nothing declares the scheme.
    ("qweight", "'layers.3.mlp.down_proj.weight'"): "quant/listed-and-quantised",
    ("weight_scale_inv", "'layers.3.mlp.down_proj.weight'"): "quant/undeclared",
    ("weight_old", "'layers.3.mlp.down_proj.weight'"): "structure/unexpected-tensor",
    # One that it built quantised was handed a part of another scheme, or a plain weight.
    (
        "weight_scale_inv",
        "'layers.3.mlp.down_proj.weight', 'layers.3.mlp.down_proj.weight_scale'",
    ): "quant/part-unplaced",
    (
        "weight",
        "'layers.3.mlp.down_proj.qweight', 'layers.3.mlp.down_proj.scales'",
    ): "quant/dense-unlisted",
}


@pytest.mark.parametrize(("part", "places"), PLACES)
def test_the_places_a_module_has_tell_how_it_was_built(part: str, places: str) -> None:
    assert explain(NO_PLACE.format(part, places))[0].rule == PLACES[part, places]


REPORT = "LlamaForCausalLM LOAD REPORT from: x\nKey | Status |\n-+-+-\n"
PARTS = "".join(
    f"model.layers.0.mlp.down_proj.{part} | MISSING |\n" for part in ("qweight", "qzeros", "scales", "g_idx")
)


def test_lines_of_a_load_report_add_up() -> None:
    """Every part of a module missing is a missing module; with a plain weight left over it is a dense one."""
    failed = "IndexError: index 4352 is out of bounds for dimension 0 with size 4\n" + REPORT
    assert explain(failed + PARTS)[0].rule == "structure/missing-linear"
    dense = "model.layers.0.mlp.down_proj.weight | UNEXPECTED |\n"
    assert explain(failed + dense + PARTS)[0].rule == "quant/dense-unlisted"
    assert (
        explain(failed + "model.layers.0.mlp.down_proj.g_idx | MISSING |\n")[0].rule == "quant/part-missing"
    )


@pytest.mark.parametrize("card", RULEBOOK.cards, ids=lambda card: card.id)
def test_rule_ids(card: ruledata.Card) -> None:
    assert [candidate.rule for candidate in explain(card.id)] == [card.id]
    assert card.id in [candidate.rule for candidate in explain(card.id.split("/")[1])]
    assert explain(card.id)[0].summary == RULEBOOK.prose(card.id)["summary"]


FILLED = {"int": "24", "size": "64", "shape": "[4096, 64]", "dtype": "BF16", "count": "3"}


@pytest.mark.parametrize("pattern", RULEBOOK.patterns(), ids=lambda p: f"{p['rule']}: {p['text'][:40]}")
def test_every_text_of_a_card_leads_to_it(pattern: dict[str, Any]) -> None:
    """The text as a loader would print it gives this rule, or one whose text is at least as telling."""
    printed = PLACEHOLDER.sub(lambda found: FILLED.get(found[1], "layers.24.mlp.down_proj"), pattern["text"])
    candidates = explain(f"Traceback (most recent call last):\n  File x\n{printed}\n", limit=50)
    mine = next((candidate for candidate in candidates if candidate.rule == pattern["rule"]), None)
    assert mine is not None
    assert mine.exact
