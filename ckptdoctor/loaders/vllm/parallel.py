"""Over how many devices vLLM can split a model: heads, widths, groups and tiles that must come out whole.

Read off 0.32.0, without expert parallelism: ``config/model.py`` asks for whole heads; ``models/llama.py`` for whole
or repeated key heads; the layers for whole columns; ``fp8_utils.validate_fp8_block_shape`` for whole tiles of a layer
that is split; ``distributed/utils.verify_group_size_divides_partition`` for whole groups of one that is split along its
input. What a kernel's own tile does not fit is padded (``marlin_utils``, since 0.27), so that this tile limits nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

from ...formats.layout import Layout
from ...model import Facts, Location
from ..base import Event
from .method import VllmMethod
from .run import VllmRun
from .split_sizes import Sizes, of_config

MOST = 64
"""Sizes are looked at up to here."""
_VOCABULARY_PADDING = 64
_LEAST_GROUP = 32
"""``moe_wna16.py`` halves the groups of experts down to this, ``refine_fp8_moe_block_shape`` their tiles."""


class Rules(NamedTuple):
    """How the weights are quantised, and what this version does about experts whose slices do not come out whole."""

    layouts: tuple[Layout, ...]
    halves_groups: bool = False
    refines_tiles: bool = False


def legal(run: VllmRun, method: VllmMethod) -> tuple[int, ...] | None:
    """Return the tensor-parallel sizes (up to 64) that vLLM accepts, None where config.json does not tell."""
    if isinstance(run.ckpt.config.get("vision_config"), dict):
        return None  # how a tower for pictures is split depends on its class and on --mm-encoder-tp-mode
    return _of_text(run, method)


def _of_text(run: VllmRun, method: VllmMethod) -> tuple[int, ...] | None:
    """Return the sizes that the language model allows, whatever else there is."""
    sizes = of_config(run.ckpt.config)
    if sizes is None:
        return None
    if method.one_device:
        return (1,)
    rules = _rules(method)
    return tuple(n for n in range(1, min(MOST, sizes.heads) + 1) if not why_not(sizes, rules, n))


def refusal(run: VllmRun, method: VllmMethod) -> Iterator[Event]:
    """Yield the refusal of the number of devices that the target asks for.

    That bitsandbytes has one device only is a rule of its own.
    """
    number, sizes = run.target.options.get("tp", 1), of_config(run.ckpt.config)
    if type(number) is not int or number < 1 or sizes is None or method.one_device:
        return
    why = why_not(sizes, _rules(method), number)
    if why:
        facts: Facts = {"tp": number, "why": why, "legal": _of_text(run, method)}
        yield Event("tensor-parallel", "fails", facts, (Location("config.json"),))


def _rules(method: VllmMethod) -> Rules:
    return Rules(tuple(method.split_layouts()), method.halves_groups, method.refines_tiles)


def why_not(sizes: Sizes, rules: Rules, n: int) -> str:
    """Return what does not come out whole on ``n`` devices, "" when everything does."""
    if sizes.heads % n:
        return f"{sizes.heads} attention heads"
    if sizes.key_heads and sizes.key_heads % n and n % sizes.key_heads:
        return f"{sizes.key_heads} key-value heads"
    if -(-sizes.vocabulary // _VOCABULARY_PADDING) * _VOCABULARY_PADDING % n:
        return f"a vocabulary of {sizes.vocabulary}"
    for width in (*sizes.dense, *sizes.experts):
        if width % n:
            return f"an inner width of {width}"
    for layout in rules.layouts if n > 1 else ():
        details = _parts(sizes, layout, n) or _of_experts(sizes, layout, rules, n)
        if details:
            return details
    return ""


def _parts(sizes: Sizes, layout: Layout, n: int) -> str:
    """Return which layer outside the experts has a slice that holds no whole groups or tiles."""
    group = layout.block[1] if layout.block else layout.group
    if group:
        for width in (*sizes.dense, *sizes.attention_inputs):
            if width // n % group:
                return f"{width} inputs in groups of {group}"
    if layout.block:
        keys = max(sizes.key_heads // n, 1) * n * sizes.head_width
        for width in (*sizes.dense, *sizes.attention_outputs, *((keys,) if sizes.key_heads else ())):
            if width // n % layout.block[0]:
                return f"{width} outputs in tiles of {layout.block[0]}"
    return ""


def _of_experts(sizes: Sizes, layout: Layout, rules: Rules, n: int) -> str:
    for width in sizes.experts:
        share = width // n
        if layout.block:
            rows, columns = layout.block
            if not share % rows and not share % columns:
                continue
            if rules.refines_tiles and gcd(rows, columns, share, sizes.hidden) >= _LEAST_GROUP:
                continue
            return f"{width} inner columns of an expert in tiles of {rows} x {columns}"
        if layout.group and share % layout.group:
            if rules.halves_groups and _halved(layout.group, share, sizes.hidden) >= _LEAST_GROUP:
                continue
            return f"{width} inner columns of an expert in groups of {layout.group}"
    return ""


def _halved(group: int, share: int, hidden: int) -> int:
    while group > 1 and (share % group or hidden % group):
        group //= 2
    return group
