"""Expressions of a config: what Python's engine would say, at a cost that is counted and never timed."""

from __future__ import annotations

import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptdoctor.skiplists import safe_regex
from ckptdoctor.skiplists.automaton import automaton
from ckptdoctor.skiplists.safe_regex import MAX_NAME, Expression, UnsafeRegex

MORE = int(os.environ.get("CKPTDOCTOR_EXAMPLES", "1"))
ATOMS = st.sampled_from(
    ["a", "b", ".", r"\.", "0", "_", r"\d", r"\w", r"\W", r"\s", r"\S", r"\D", "[ab]", "[^a.]", "[0-9_]", r"[\d.]",
     "[^\\w]", "^", "$", r"\b", r"\B", r"\A", r"\Z", "\n", "é"]
)  # fmt: skip
COUNTS = st.sampled_from(["", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{,2}"])


def expressions() -> st.SearchStrategy[str]:
    """Expressions that Python's engine can run on short names, nested ones as well."""
    leaf = st.tuples(ATOMS, COUNTS).filter(lambda pair: not (pair[0] in PLACES and pair[1])).map("".join)
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3).map("".join)
            | st.lists(inner, min_size=2, max_size=3).map("|".join).map("(?:{})".format)
            | st.tuples(inner.map("({})".format), st.sampled_from(["", "?", "{2}", "{0,2}"])).map("".join)
        ),
        max_leaves=6,
    )


PLACES = ("^", "$", r"\b", r"\B", r"\A", r"\Z")
NAMES = st.text("ab.0_é \n", min_size=1, max_size=9)  # \\B of nothing depends on the Python


@settings(max_examples=600 * MORE, deadline=None)
@given(expressions(), st.lists(NAMES, min_size=1, max_size=6), st.booleans())
def test_it_says_what_python_says(pattern: str, names: list[str], boundary: bool) -> None:
    try:
        found = Expression(pattern, boundary=boundary)
    except (UnsafeRegex, re.error):
        return
    real = re.compile(f"(?:{pattern}){BOUNDARY}" if boundary else pattern)
    for name in names:  # one object for all of them, as in a run: states met before must answer the same
        assert found.match(name) is (real.match(name) is not None), (pattern, name)
        assert found.fullmatch(name) is (real.fullmatch(name) is not None), (pattern, name)
        assert found.search(name) is (real.search(name) is not None), (pattern, name)


BOUNDARY = r"(?:(?<=\.)|(?=\.|$))"
"""How ``should_convert_module`` of transformers 5 ends what it compiles."""

WRITTEN = (
    r".*\.(q|v)_proj$", r"model\.layers\.\d+\.mlp\.(gate|up)_proj", ".*lm_head.*", r"^(?!x)", "model.layers.1[0-9]",
    r"language_model\..*(?:self_attn|mlp)\.(?:q|k|v|o|gate|up|down)_proj", "visual.*", r"(?:.*\.)?(?:q_proj)", "",
)  # fmt: skip
MODULES = [
    f"model.layers.{n}.{part}" for n in (0, 1, 10, 19) for part in ("self_attn.q_proj", "mlp.gate_proj")
]


@pytest.mark.parametrize("pattern", [text for text in WRITTEN if "(?!" not in text])
def test_it_says_what_python_says_of_what_people_write(pattern: str) -> None:
    found, real = Expression(pattern), re.compile(pattern)
    for name in (*MODULES, "lm_head", "visual.blocks.0", "language_model.model.layers.3.mlp.up_proj", ""):
        assert found.match(name) is (real.match(name) is not None)
        assert found.fullmatch(name) is (real.fullmatch(name) is not None)
        assert found.search(name) is (real.search(name) is not None)


CATASTROPHES = (
    "a?" * 60 + "a" * 60, "(a|a)" * 60 + "b", "((a|a){9}){9}b", "(a|a|a|a)" * 40 + "b", ".*a.*a.*a.*b",
    "(?:a|b|ab)" * 60 + "c", r"\w*\w*\w*\w*-", "(a?){9}" * 30 + "b",
)  # fmt: skip


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_what_takes_python_for_ever_is_answered_or_refused_at_once(pattern: str) -> None:
    begun = time.process_time()
    try:
        found = Expression(pattern)
        answers = [found.fullmatch("a" * 60), found.match("ab" * 60), found.search("a" * MAX_NAME)]
    except UnsafeRegex:
        answers = []
    assert time.process_time() - begun < 3
    if pattern == CATASTROPHES[0]:
        assert answers[0] is True  # exactly sixty


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(.*a){20}", "(?=a)b", r"(a)\1", ".*" * 5, "a" * 2000, "a*+", "a?+", "a{2}+"]
)
def test_what_is_not_tame_is_refused_unread(pattern: str) -> None:
    with pytest.raises(UnsafeRegex):
        Expression(pattern)


@pytest.mark.parametrize("pattern", ["[", "a**", "*a", "(", "a{99999999999}", "[b-a]"])
def test_what_is_no_expression_is_an_error(pattern: str) -> None:
    with pytest.raises((UnsafeRegex, re.error, OverflowError)):
        Expression(pattern)


def test_a_slow_machine_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps by an hour with every look changes nothing: nobody looks."""
    ticks = iter(range(0, 10**9, 3600))
    for clock in ("perf_counter", "monotonic", "process_time", "time"):
        monkeypatch.setattr(time, clock, lambda: float(next(ticks)))
    found = Expression(r".*layers\.1\d\..*")
    assert [found.match(name) for name in MODULES] == [False] * 4 + [True] * 4
    assert next(ticks) == 0


def test_what_costs_too_much_is_counted() -> None:
    """Always at the same name, whatever came before in the process."""

    def survived() -> int:
        found = Expression(".*a.*b.*c.*d")
        for number in range(10**6):
            try:
                found.match(f"{number:0{MAX_NAME}}")
            except UnsafeRegex:
                return number
        raise AssertionError("it never ends")

    first = survived()
    assert 1000 < first < safe_regex.MAX_STEPS / MAX_NAME
    automaton.cache_clear()
    assert survived() == first
    with pytest.raises(UnsafeRegex):
        Expression("a*").fullmatch("a" * (MAX_NAME + 1))
