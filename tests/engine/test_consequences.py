"""Which finding is told with which: only what lies where the cause does harm; and no text of 20 MB is kept."""

from __future__ import annotations

from ckptdoctor.judging import shortened
from ckptdoctor.judging.consequences import causes
from ckptdoctor.model import Finding, Location


def finding(
    rule: str, subject: str = "", tensors: tuple[str, ...] = (), count: int = 1, **facts: str
) -> Finding:
    at = tuple(Location("f", tensor=tensor) for tensor in tensors)
    return Finding(rule, "error", "", count, at, facts, (), None, f"{rule} {subject}", subject)


def told(
    *found: Finding, rules: dict[str, list[str]], scopes: dict[str, set[str]] | None = None
) -> dict[str, str]:
    every = {item.fingerprint: (scopes or {}).get(item.fingerprint) for item in found}
    return causes(found, {item.fingerprint: rules.get(item.rule, []) for item in found}, every)


def test_what_lies_in_or_below_the_subject_follows() -> None:
    cause = finding("cause", "a.b")
    inside, below, beside = finding("x", "a.b"), finding("x", "a.b.c", k="1"), finding("x", "a.bc", k="2")
    found = told(cause, inside, below, beside, rules={"x": ["cause"]})
    assert found[inside.fingerprint] == found[below.fingerprint] == cause.fingerprint
    assert found[beside.fingerprint] == beside.fingerprint
    assert told(cause, inside, rules={})[inside.fingerprint] == inside.fingerprint


def test_what_a_cause_accounts_for_is_told_by_tensors() -> None:
    cause, rules = finding("cause", "f"), {"x": ["cause"]}
    scopes = {cause.fingerprint: {"a", "b"}}
    for tensors, follows in ((("a",), True), (("a", "b"), True), (("a", "c"), False), ((), False)):
        other = finding("x", "f", tensors)
        found = told(cause, other, rules=rules, scopes=scopes)
        assert (found[other.fingerprint] == cause.fingerprint) is follows, tensors


def test_one_stands_for_those_that_differ_in_the_module_alone() -> None:
    few, many, other = finding("x", "a", k="1"), finding("x", "b", count=9, k="1"), finding("x", "c", k="2")
    found = told(few, many, other, rules={})
    assert found == {
        few.fingerprint: many.fingerprint,
        many.fingerprint: many.fingerprint,
        other.fingerprint: other.fingerprint,
    }


def test_a_chain_ends_at_its_first_cause_and_a_circle_ends() -> None:
    first, second, third = finding("a"), finding("b"), finding("c")
    found = told(first, second, third, rules={"b": ["a"], "c": ["b"]})
    assert set(found.values()) == {first.fingerprint}
    assert set(told(first, second, rules={"a": ["b"], "b": ["a"]})) == {first.fingerprint, second.fingerprint}


def test_long_texts_and_lists_are_cut() -> None:
    whole = {"text": "x" * 5000, "short": "x", "list": ("y" * 5000,) * 3000, "number": 3}
    cut = shortened.facts(whole)
    assert cut["text"] == "x" * (shortened.MAX_TEXT - 1) + "…"
    assert (cut["short"], cut["number"]) == ("x", 3)
    assert cut["list"] == ("y" * (shortened.MAX_TEXT - 1) + "…",) * shortened.MAX_ITEMS
    place = shortened.location(Location("f" * 5000, tensor="t" * 5000, pointer=None))
    assert (len(place.file), len(place.tensor or ""), place.pointer) == (1000, 1000, None)
