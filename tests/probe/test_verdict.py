"""What was seen → an outcome, and when it confirms or refutes what the check had said."""

from __future__ import annotations

from typing import Any

import pytest

from ckptdoctor.cli.exits import FINDINGS, NO_VERDICT, OK
from ckptdoctor.cli.load import exit_code
from ckptdoctor.memory.nouns import Weights
from ckptdoctor.model import Outcome, Verdict
from ckptdoctor.probe.loading import Result, Wanted, agreement
from ckptdoctor.probe.process import Failed
from ckptdoctor.probe.verdict import Cause, Seen, judge
from ckptdoctor.sources import open_source
from tests.observe.paths import SOUND
from tests.support.shipped import check_source, parse_target

RAISED = {"type": "E", "text": "t"}
SEEN: dict[str, tuple[dict[str, Any], Outcome, Cause]] = {
    "sound": ({"stage": "done", "logits_finite": True}, "ok", ""),
    "no numbers": ({"stage": "done", "logits_finite": False}, "corrupt", "checkpoint"),
    "random": ({"stage": "done", "never_written": ["a"]}, "corrupt", "checkpoint"),
    "random and never read": ({"stage": "done", "never_written": ["a"], "never_read": ["a"]}, "ok", ""),
    "other values": ({"stage": "done", "differ_from_file": ["a"]}, "corrupt", "checkpoint"),
    "other scheme": ({"stage": "done", "otherwise": ["a"]}, "wrong-precision", "checkpoint"),
    "raised": ({"stage": "load", "exception": RAISED}, "fails", "checkpoint"),
    "raised late": ({"stage": "forward", "exception": RAISED}, "fails-late", "checkpoint"),
    "no kernel": ({"stage": "forward", "exception": RAISED, "environment": True}, "unknown", "environment"),
    "no kernel, and random": (
        {"stage": "forward", "exception": RAISED, "environment": True, "never_written": ["a"]},
        "corrupt",
        "checkpoint",
    ),
    "ours": ({"stage": "probe", "exception": RAISED}, "unknown", "probe"),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_was_seen(name: str) -> None:
    seen, outcome, cause = SEEN[name]
    assert judge(seen)[:2] == (outcome, cause)


AGREES: list[tuple[Outcome, str, Outcome, str, bool | None]] = [
    ("ok", "done", "ok", "generate", True),
    ("fails", "load", "fails", "generate", True),
    ("ok", "done", "fails", "generate", False),
    ("fails", "load", "ok", "generate", False),
    ("corrupt", "done", "ok", "generate", False),
    ("unknown", "load", "ok", "generate", None),
    ("ok", "done", "unknown", "generate", None),
    ("ok", "built", "ok", "build", None),  # a model without weights is no proof
    ("ok", "built", "fails", "build", None),
    ("ok", "loaded", "fails-late", "weights", None),  # it would have failed later
    ("ok", "loaded", "fails", "weights", False),
    ("ok", "done", "fails-late", "generate", False),
    ("ok", "done", "corrupt", "generate", None),  # it holds what the file says, which may be what is wrong
]


@pytest.mark.parametrize("row", AGREES, ids=str)
def test_agreement(row: tuple[Outcome, str, Outcome, str, bool | None]) -> None:
    outcome, stage, said, until, agrees = row
    assert agreement(Seen(outcome, "", ()), {"stage": stage}, verdict(said), until) is agrees


def verdict(outcome: Outcome) -> Verdict:
    [found] = check_source(open_source(str(SOUND / "llama-bf16")), [parse_target("vllm==0.32.0")]).verdicts
    return found._replace(outcome=outcome)


CODES: list[tuple[Outcome, Outcome, bool | None, int]] = [
    ("ok", "ok", True, OK),
    ("ok", "unknown", None, OK),
    ("ok", "corrupt", None, FINDINGS),
    ("ok", "fails", False, FINDINGS),
    ("fails", "fails", True, FINDINGS),
    ("corrupt", "unknown", None, FINDINGS),
    ("unknown", "ok", None, NO_VERDICT),
]


@pytest.mark.parametrize("row", CODES, ids=str)
def test_exit_codes(row: tuple[Outcome, Outcome, bool | None, int]) -> None:
    outcome, said, agrees, code = row
    predicted = verdict(said)
    done = Result(
        wanted=Wanted("/c", predicted.target, "python"),
        versions={},
        device="cpu",
        seen={},
        judged=Seen(outcome, "", ()),
        failure=None,
        limit=None,
        rules=(),
        predicted=predicted,
        weights=Weights(None),
        agrees=agrees,
        changed=(),
        log=None,
        seconds={},
        peak=0,
    )
    assert exit_code(done) == code
    assert exit_code(done._replace(changed=("config.json",))) == NO_VERDICT
    assert exit_code(done._replace(failure=Failed("timeout", "no answer"))) == NO_VERDICT
