"""Names under which the same tensors are saved, held in memory, carried by older releases, or tied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ckptdoctor.expected.blueprint import starred

from .conditions import Env, When, conditions, presence
from .derive import Unfit
from .observation import Observation
from .observe import dropped_prefixes, saved_as

Plain = dict[str, Any]


def native_differences(observations: Sequence[Observation]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """How names in memory differ from saved ones: (renamed templates, fused template -> what it is saved as)."""
    renamed: dict[str, str] = {}
    fused: dict[str, list[str]] = {}
    for seen in observations[:12]:
        for name, shape in seen.native.items():
            if name in seen.released and seen.released[name] == shape:
                continue
            template = starred(name)[0]
            if template in renamed or template in fused:
                continue
            saved = saved_as(seen.model, name)
            names = list(dict.fromkeys(starred(saved_name)[0] for saved_name in saved))
            if (
                len(names) == 1
                and names[0].count("*") == template.count("*")
                and set(saved.values()) == {shape}
            ):
                renamed[template] = names[0]
            elif all(saved_name in seen.released for saved_name in saved):
                fused[template] = names
    prefixes = _shortest_prefixes(renamed)
    others = _other_names(observations[-1])
    return {**others, **prefixes, **_dropped_prefixes(observations[0], prefixes)}, fused


def _other_names(seen: Observation) -> dict[str, str]:
    """Names that vLLM takes as well, by prefix where no name that stands for itself has it."""
    found: dict[str, str] = {}
    for there, here in getattr(seen.model, "renamed", {}).items():
        ((short, to),) = _shortest_prefixes({there: here}).items()
        taken = any(starred(name)[0].startswith(f"{short}.") for name in seen.released)
        found |= {there: here} if taken else {short: to}
    return found


def _dropped_prefixes(seen: Observation, renamed: dict[str, str]) -> dict[str, str]:
    """Prefixes that older releases carry and that transformers takes off when it loads."""
    found: dict[str, str] = {}
    for place, dropped in dropped_prefixes(seen.model):
        here = respelled(place, renamed)
        base = seen.model.base_model_prefix
        whole = place if not (base and place) or f"{place}.".startswith(f"{base}.") else f"{base}.{place}"
        for spelling in dict.fromkeys((place, here, whole)):
            there = f"{spelling}.{dropped}".lstrip(".")
            if not any(name.startswith(f"{there}.") for name in (*seen.native, *seen.released)):
                found[there] = here
    return found


def _shortest_prefixes(renamed: dict[str, str]) -> dict[str, str]:
    """Reduce template pairs to prefix pairs where that says the same."""
    pairs: dict[str, str] = {}
    for there, here in renamed.items():
        left, right = there.split("."), here.split(".")
        while len(left) > 1 and len(right) > 1 and left[-1] == right[-1]:
            left.pop()
            right.pop()
        pairs[".".join(left)] = ".".join(right)
    return pairs


def ties(observations: Sequence[Observation], renamed: dict[str, str]) -> list[Plain]:
    """Tied groups with the condition under which they are tied."""
    envs = [seen.env for seen in observations]
    pairs = dict.fromkeys(pair for seen in observations for pair in seen.tied.items())
    groups: dict[tuple[str, str], list[str]] = {}
    wanted: dict[str, When] = {}
    for target, source in pairs:
        here = [respelled(name, renamed) for name in (source, target)]
        for when in _when_tied(target, envs, [seen.tied.get(target) == source for seen in observations]):
            wanted[repr(when)] = when
            groups.setdefault((here[0], repr(when)), [here[0]]).append(here[1])
    return [
        {"names": names, **({"when": wanted[when]} if wanted[when] else {})}
        for (_, when), names in groups.items()
    ]


def _when_tied(target: str, envs: Sequence[Env], tied: Sequence[bool]) -> list[When]:
    """The condition for a tie, or two of which either suffices."""
    when = presence(envs, tied)
    if when is not None:
        return [when]
    single = [(c, truth) for c, truth in conditions(envs) if len(c) == 1]
    for place, (first, one) in enumerate(single):
        for second, two in single[place + 1 :]:
            if [a or b for a, b in zip(one, two, strict=True)] == list(tied):
                return [first, second]
    raise Unfit(f"{target}: no condition explains when it is tied")


def respelled(name: str, renamed: dict[str, str]) -> str:
    """A tensor name with its longest known prefix exchanged."""
    for there, here in sorted(renamed.items(), key=lambda pair: -len(pair[0])):
        if name == there or name.startswith(f"{there}."):
            return here + name[len(there) :]
    return name
