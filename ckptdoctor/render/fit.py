"""What ``ckptdoctor fit`` found → a page for people, or JSON (``fit.schema.json``)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from .._version import __version__
from ..memory.fitting import Fit
from ..memory.gpus import Gpu
from ..memory.nouns import Layers
from ..model import Verdict
from ..model.words import amount
from . import Page
from .layout import Line, Segment, flow, hang, paint, seg, size
from .safe import dumps

_LABEL = 15
_BAD = ("fails", "fails-late", "corrupt", "wrong-precision")
_KINDS = {
    "full": "of all tokens",
    "window": "of the last {window:,} tokens",
    "chunk": "of {window:,} tokens at a time",
    "latent": "of a latent vector a token",
    "state": "with a state of {state:,} B",
}


class Answer(NamedTuple):
    """What was found out about one checkpoint."""

    path: str
    """As the user typed it."""
    found: Fit
    verdict: Verdict
    command: tuple[str, ...]
    """The words that serve it so; empty where the loader is no server."""
    own_context: int | None
    """Tokens that the model was made for."""
    rulebook: str
    """Digest of the rules in use."""
    nothing: str = ""
    """Why there was nothing to look at, else empty."""


def as_text(answer: Answer, page: Page) -> str:
    """Return the page."""
    lines: list[Line] = [[seg(answer.path, "strong"), Segment("  in "), seg(answer.verdict.target.label)], []]
    if answer.nothing:
        return paint([*lines, *hang([Segment("  ? ", "warn")], answer.nothing, page)], page)
    lines += _verdict(answer, page)
    lines += _weights(answer.found, page)
    lines += _cache(answer.found, page)
    lines += _rest(answer.found, page)
    lines += [[], *_standing(answer, page)]
    lines += _further(answer, page)
    return paint(lines, page)


def _verdict(answer: Answer, page: Page) -> list[Line]:
    """Say that it will not be served as it is meant, which matters more than its size."""
    verdict = answer.verdict
    if verdict.outcome not in _BAD:
        return []
    why = f"{verdict.outcome}: {verdict.reason}" if verdict.reason else verdict.outcome
    told = hang([Segment("  ✗ ", "bad")], f"{why} (ckptdoctor check says more)", page, "strong")
    return [*told, []]


def _weights(found: Fit, page: Page) -> list[Line]:
    held = found.weights
    if held.total is None:
        return hang(_label("Weights"), f"not known: {held.unknown}", page, "warn")
    parts: list[Line] = [[seg(f"{size(held.total):>9}", "strong")]]
    schemes = sorted(held.by_scheme.items(), key=lambda item: -item[1])
    if len(schemes) > 1:
        parts += [[seg(f"{name} {size(count)}")] for name, count in schemes]
    elif schemes:
        parts.append([seg(schemes[0][0])])
    if held.as_16bit is not None and held.total * found.devices < 0.95 * held.as_16bit:
        each = "" if found.devices == 1 else " in all"
        parts.append([Segment(f"16-bit would take {size(held.as_16bit)}{each}", "dim")])
    return flow(_label("Weights"), parts, page)


def _cache(found: Fit, page: Page) -> list[Line]:
    kept = found.kept
    if kept.unknown:
        return hang(_label("KV cache"), f"not known: {kept.unknown}", page, "warn")
    if not kept.layers:
        return hang(_label("KV cache"), "none: nothing is kept of a sequence", page)
    cached = found.need.cache
    parts: list[Line] = [[seg(f"{size(cached):>9}" if cached is not None else f"{'?':>9}", "strong")]]
    if found.context:
        parts.append([Segment(f"{found.demand.batch:,} × {found.context:,} tokens")])
    if kept.per_token:
        parts.append([Segment(f"{kept.per_token:,} B a token in {kept.dtype}")])
    if kept.per_sequence:
        parts.append([Segment(f"{kept.per_sequence:,} B a sequence")])
    lines = flow(_label("KV cache"), parts, page)
    if len(kept.layers) > 1 or kept.layers[0].kind != "full":
        told: list[Line] = [[Segment(_layers(item), "dim")] for item in kept.layers]
        lines += flow([*_label(""), Segment(" " * 12)], told, page)
    return lines


def _layers(item: Layers) -> str:
    words = _KINDS[item.kind].format(window=item.window, state=item.state)
    return f"{amount(item.count, 'layer')} {words}"


def _rest(found: Fit, page: Page) -> list[Line]:
    lines: list[Line] = []
    if found.need.unpacked:
        told: list[Line] = [
            [Segment(f"{size(found.need.unpacked):>9}", "strong")],
            [Segment("16-bit copies that latent attention makes")],
        ]
        lines += flow(_label("Unpacked"), told, page)
    if found.need.activations is None:
        lines += hang(_label("Activations"), "not known: config.json lacks a size", page, "warn")
    else:
        rough: list[Line] = [
            [Segment(f"{'~' + size(found.need.activations):>9}")],
            [Segment("rough: one step, its logits, CUDA's own share", "dim")],
        ]
        lines += flow(_label("Activations"), rough, page)
    if found.total is not None:
        each = f"on each of {found.devices} devices" if found.devices > 1 else "on one device"
        lines += flow(
            _label("Total"), [[seg(f"{'~' + size(found.total):>9}", "strong")], [Segment(each)]], page
        )
    return lines


def _standing(answer: Answer, page: Page) -> list[Line]:
    found, gpu = answer.found, answer.found.demand.gpu
    if gpu is None or found.budget is None:
        return []
    where = f"{_named(gpu)}, of which {size(found.budget)} may be used"
    if found.fits is None:
        why = "; ".join(found.unknown) or "a part is not known"
        return [
            *hang([Segment("  ? ", "warn")], f"whether it fits on {where}, is not known: {why}", page),
            [],
        ]
    if found.fits:
        room = ""
        if found.largest_context and found.kept.per_token:
            most = found.largest_context
            whole = " (all that the model was made for)" if most == answer.own_context else ""
            room = f"; the largest context is {found.demand.batch:,} × {most:,} tokens{whole}"
        return [*hang([Segment("  ✓ ", "ok")], f"fits on {where}{room}", page, "strong"), []]
    return [*hang([Segment("  ✗ ", "bad")], f"does not fit on {where}: {_remedy(found)}", page, "strong"), []]


def _remedy(found: Fit) -> str:
    if found.largest_context:
        return f"up to {found.demand.batch:,} × {found.largest_context:,} tokens would"
    if found.largest_context == 0:
        return "no context does"
    return "the weights alone are too many"


def _named(gpu: Gpu) -> str:
    return gpu.name if gpu.name.endswith("GiB") else f"{gpu.name} ({gpu.gib:g} GiB)"


def _further(answer: Answer, page: Page) -> Iterator[Line]:
    found = answer.found
    if found.total is not None:
        smallest = _named(found.smallest) if found.smallest else "none of those known here"
        many = f"{found.devices} × " if found.devices > 1 and found.smallest else ""
        yield from hang(_label("Smallest GPU"), many + smallest, page)
    if found.legal is not None:
        yield from hang(_label("Devices"), ", ".join(map(str, found.legal)) or "none", page)
    if found.lora_slot:
        yield from hang(
            _label("LoRA"), f"about {size(found.lora_slot)} for each adapter that is served at once", page
        )
    if answer.command and answer.verdict.outcome not in ("fails", "fails-late"):
        yield from [[], [Segment("  Serve", "strong")], [Segment("    "), seg(shlex.join(answer.command))]]


def _label(text: str) -> Line:
    return [Segment("  "), Segment(f"{text:<{_LABEL}}", "dim")]


def as_json(answer: Answer) -> str:
    """Return the answer as JSON text."""
    found, verdict = answer.found, answer.verdict
    gpu = found.demand.gpu
    value = {
        "schema": 1,
        "tool": f"ckptdoctor {__version__}",
        "rulebook": answer.rulebook,
        "target": answer.path,
        "for": verdict.target.label,
        "outcome": verdict.outcome,
        "reason": verdict.reason or None,
        "devices": found.devices,
        "weights": {
            "total": found.weights.total,
            "by_scheme": dict(found.weights.by_scheme),
            "as_16bit": found.weights.as_16bit,
            "unknown": found.weights.unknown or None,
        },
        "cache": {
            "total": found.need.cache,
            "per_token": None if found.kept.unknown else found.kept.per_token,
            "per_sequence": None if found.kept.unknown else found.kept.per_sequence,
            "dtype": found.kept.dtype or None,
            "context": found.context,
            "batch": found.demand.batch,
            "layers": [item._asdict() for item in found.kept.layers],
            "unknown": found.kept.unknown or None,
        },
        "unpacked": found.need.unpacked,
        "rough": {"activations": found.need.activations, "lora_slot": found.lora_slot},
        "total": found.total,
        "gpu": None if gpu is None else {"name": gpu.name, "memory": gpu.memory, "budget": found.budget},
        "fits": found.fits,
        "largest_context": found.largest_context,
        "smallest_gpu": found.smallest.name if found.smallest else None,
        "tensor_parallel": None if found.legal is None else list(found.legal),
        "command": list(answer.command) or None,
        "unknown": list(found.unknown),
        "nothing": answer.nothing or None,
    }
    return dumps(value)
