"""A test load → a page for people, or JSON (``load.schema.json``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .._version import __version__
from ..model.words import amount
from ..probe.loading import Result
from ..probe.verdict import templates
from . import Page
from .layout import OUTCOME_GLYPH, OUTCOME_STYLE, Line, Segment, flow, hang, paint, seg, size
from .safe import dumps

SHOWN = 6
"""Names of one kind on the page; JSON has them all."""
KINDS = {
    "never_written": "never written: they hold whatever was in memory",
    "unscaled": "codes taken for weights, their scales were not read",
    "dropped": "in the file and dropped, though the model has others of their kind",
    "differ_from_file": "not the values in the file",
    "otherwise": "held otherwise than stored",
    "missing": "missing in the file",
    "unexpected": "in the file and not in the model",
    "mismatched": "of another shape",
}
FAILED = {
    "timeout": "no answer in time; --timeout gives it more",
    "memory": "it took more memory than --memory allows",
    "died": "the process died before it gave an answer",
    "unstarted": "the interpreter could not be started",
    "unusable": "the loader cannot be used there",
}


def as_json(result: Result) -> str:
    """Return the result as JSON text."""
    seen, predicted = result.seen, result.predicted
    value = {
        "schema": 1,
        "tool": f"ckptdoctor {__version__}",
        "checkpoint": result.wanted.checkpoint,
        "base": result.wanted.base,
        "loader": result.wanted.target.loader,
        "versions": dict(result.versions),
        "python": result.wanted.python,
        "device": result.device or None,
        "until": result.wanted.until,
        "stage": seen.get("stage"),
        "outcome": result.judged.outcome,
        "cause": result.judged.cause or None,
        "precision": dict(seen.get("precision") or {}),
        "compared": _compared(result),
        **{key: list(seen.get(key) or ()) for key in KINDS if key != "differ_from_file"},
        "logits_finite": seen.get("logits_finite"),
        "weights_bytes": seen.get("weights_bytes"),
        "predicted": {
            "outcome": predicted.outcome,
            "precision": predicted.precision,
            "weights_bytes": result.weights.total,
            "as_16bit_bytes": result.weights.as_16bit,
            "because": list(predicted.because),
            "reason": predicted.reason or None,
        },
        "agrees": result.agrees,
        "exception": _exception(result),
        "rules": [candidate.rule for candidate in result.rules],
        "failure": None
        if result.failure is None
        else {"why": result.failure.why, "text": str(result.failure)},
        "advice": None if result.limit is None else result.limit.advice,
        "changed_in_checkpoint": list(result.changed),
        "log": result.log,
        "seconds": {stage: round(time, 3) for stage, time in result.seconds.items()},
        "peak_bytes": result.peak or None,
    }
    return dumps(value)


def _compared(result: Result) -> dict[str, object] | None:
    seen = result.seen
    if "same" not in seen:
        return None
    return {"same": seen["same"], "differ": seen["differ_from_file"], "not_compared": seen["not_compared"]}


def _exception(result: Result) -> dict[str, str] | None:
    found = result.seen.get("exception")
    if found is None and result.failure is not None:
        found = result.failure.exception
    return dict(found) if found else None


def as_text(result: Result, page: Page) -> str:
    """Return the page."""
    wanted = result.wanted
    about = [
        [seg(f"{wanted.target.loader} {result.versions.get(wanted.target.loader, wanted.target.version)}")]
    ]
    about += [[seg(f"{name} {version}")] for name, version in _beside(result)]
    about += [[seg(result.device)]] if result.device else []
    lines: list[Line] = [
        [seg(wanted.checkpoint, "strong")],
        *flow([], [*about, [seg(wanted.python)]], page),
        [],
    ]
    lines += _verdict(result, page)
    lines += _held(result, page)
    for key, what in KINDS.items():
        names = result.seen.get(key) or ()
        if key != "missing" or names != result.seen.get("never_written"):
            lines += _kind(what, names, page)
    lines += _failure(result, page)
    lines += _memory(result, page)
    lines += _agreement(result, page)
    if result.changed:
        lines += hang(
            [Segment("    ! ", "bad")], f"files of the checkpoint changed: {', '.join(result.changed)}", page
        )
    if result.log is not None:
        lines += [[Segment("    log  ", "dim"), seg(result.log)]]
    times = [[seg(f"{stage} {seconds:.1f} s", "dim")] for stage, seconds in result.seconds.items()]
    lines += [[], *flow([Segment("  ")], times, page)] if times else []
    return paint(lines, page)


def _beside(result: Result) -> Iterable[tuple[str, str]]:
    names = ("vllm-bnb-plugin", "transformers", "peft", "bitsandbytes", "compressed-tensors", "torch")
    for name in names:
        if name in result.versions and name != result.wanted.target.loader:
            yield name, result.versions[name]


def _verdict(result: Result, page: Page) -> list[Line]:
    seen, outcome = result.seen, result.judged.outcome
    label: Line = [
        Segment(f"  {OUTCOME_GLYPH[outcome]} ", OUTCOME_STYLE[outcome]),
        seg(outcome, OUTCOME_STYLE[outcome]),
    ]
    label.append(Segment("  "))
    if result.failure is not None:
        return hang(label, FAILED.get(result.failure.why, ""), page)
    words = {
        "probe": "something of ours went wrong; please report it with the log",
        "environment": "this environment cannot tell; it is not the checkpoint",
    }.get(result.judged.cause, _how_far(str(seen.get("stage"))))
    schemes = Counter((seen.get("precision") or {}).values())
    kinds = ", ".join(scheme for scheme, _ in schemes.most_common())
    return hang(label, "; ".join(filter(None, [words, kinds])), page)


def _how_far(stage: str) -> str:
    return {
        "built": "built, no weights loaded: that was not asked for",
        "loaded": "weights loaded, not run",
        "compare": "loaded and run",
        "done": "loaded and run",
        "forward": "loaded; the first run raised",
        "post-load": "weights read; preparing them raised",
    }.get(stage, "loading raised")


def _held(result: Result, page: Page) -> list[Line]:
    seen = result.seen
    if "same" not in seen:
        return []
    every = (
        seen["same"]
        + len(seen["differ_from_file"])
        + len(seen["not_compared"])
        + len(seen.get("never_written") or ())
    )
    words = f"{seen['same']:,} of {amount(every, 'parameter')} hold what the files say"
    if seen["not_compared"]:
        words += f", {len(seen['not_compared']):,} could not be compared"
    if "logits_finite" in seen and not seen.get("never_written"):  # what nobody wrote was made NaN here
        words += "; logits are finite" if seen["logits_finite"] else "; logits are NOT finite"
    return hang([Segment("    ")], words, page)


def _kind(what: str, names: Iterable[str], page: Page) -> list[Line]:
    folded = templates(names)
    if not folded:
        return []
    lines = hang([Segment("    ")], f"{sum(folded.values()):,} {what}", page)
    for name, count in list(folded.items())[:SHOWN]:
        lines += hang([Segment("      ")], name if count == 1 else f"{name}  ({count:,})", page, "dim")
    if len(folded) > SHOWN:
        lines.append([Segment(f"      and {len(folded) - SHOWN:,} more kinds", "dim")])
    return lines


def _failure(result: Result, page: Page) -> list[Line]:
    lines = hang([Segment("    ")], _first(result.exception), page) if result.exception else []
    if result.failure is not None and not result.exception:
        lines += hang([Segment("    ")], str(result.failure), page)
    if result.limit is not None:
        lines += hang([Segment("    → ", "info")], f"{result.limit.what}: {result.limit.advice}", page)
    if result.rules and result.rules[0].exact:
        best = result.rules[0]
        lines += hang([Segment("    "), seg(best.rule, "rule"), Segment("  ")], best.summary, page, indent=6)
        advice = str(page.prose(best.rule).get("how_to_fix") or "")
        lines += hang([Segment("      ")], advice, page) if advice else []
    return lines


def _first(text: str) -> str:
    """The first lines of an exception; transformers' go on with a table and a traceback."""
    head, table, _ = text.partition(" LOAD REPORT ")
    shown = head.rpartition("\n")[0] if table else head
    return shown.partition("\n\n")[0][:600]


def _memory(result: Result, page: Page) -> list[Line]:
    took, predicted = result.seen.get("weights_bytes"), result.weights.total
    if not took:
        return []
    words = f"weights take {size(took)}"
    if plain := result.weights.as_16bit:
        words += f"; 16-bit would take {size(plain)}"
    return hang([Segment("    ")], words + (f"; predicted {size(predicted)}" if predicted else ""), page)


def _agreement(result: Result, page: Page) -> list[Line]:
    said = f"ckptdoctor check says {result.predicted.outcome}"
    because = ", ".join(result.predicted.because) or result.predicted.reason
    said += f" ({because})" if because and result.predicted.outcome != "ok" else ""
    if result.agrees is None:
        return hang([Segment("    ")], f"{said}; this load neither confirms nor refutes it", page)
    if result.agrees:
        return hang([Segment("    = ", "ok")], f"as predicted: {said}", page)
    return hang(
        [Segment("    ≠ ", "bad")], f"NOT as predicted: {said}. That is a mistake of ckptdoctor's", page
    )
