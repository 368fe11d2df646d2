"""The model of ``FastLanguageModel.from_pretrained(DIRECTORY)`` in Unsloth with unsloth_zoo.

With ``fast_inference`` (the default here) vLLM loads the weights; whether it is told "bitsandbytes" was decided by the
directory's name until unsloth_zoo 2025.3.9 and by more and more of the config since (``vllm_utils.load_vllm``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..checkpoint.nouns import Checkpoint, View
from ..model import Location, Target
from .base import Event, Plan, Reading
from .shared import facts
from .shared.modules import family
from .transformers.model import Transformers
from .vllm.files import BNB
from .vllm.model import Vllm, declares_bnb

Data = Mapping[str, object]
SUFFIX = "-bnb-4bit"
_KEYS = ("bnb_4bit_use_double_quant", "bnb_4bit_quant_type", "bnb_4bit_quant_storage")
_PARENT = re.compile(r"[\d]\.[^\.]+$")


class Unsloth:
    """What Unsloth makes of a checkpoint: its own decisions, then those of the loader underneath."""

    name = "unsloth"

    def plan(self, ckpt: Checkpoint, target: Target, data: Data) -> Plan:
        """Decide whether vLLM is told "bitsandbytes", then ask the model of the loader underneath."""
        inner, inner_data = _underneath(ckpt, target, data)
        plan = inner.plan(ckpt, _inner_target(ckpt, target, data), inner_data)
        events = _decisions(ckpt, target, data) if _fast(target) else []
        return plan._replace(events=(*events, *plan.events))

    def read(self, ckpt: Checkpoint, view: View, plan: Plan, target: Target, data: Data) -> Reading:
        """Read as the loader underneath does, with Unsloth's precision as what was asked for."""
        inner, inner_data = _underneath(ckpt, target, data)
        reading = inner.read(ckpt, view, plan, _inner_target(ckpt, target, data), inner_data)
        events = list(reading.events)
        if _fast(target):
            events += _precision(ckpt, view, target, data)
        return reading._replace(target=target, events=tuple(events), evidence=facts.evidence(data, target))


def uses_bitsandbytes(ckpt: Checkpoint, target: Target, data: Data) -> bool:
    """Whether ``load_vllm`` asks vLLM for bitsandbytes (regimes V0 to V3 by unsloth_zoo version)."""
    regime = facts.regime(data, _zoo(target))
    name = ckpt.label.lower().endswith(SUFFIX)  # the string as typed: a trailing slash defeats it
    forced_off = _other_method_disables(ckpt, target, data) or _bf16_suffix(ckpt, target, data)
    flag = _asks_4bit(target) and not forced_off
    if regime == "name":
        return name
    if regime == "flag-or-name":
        return flag or name
    if regime == "flag-or-name-or-any-config":
        return flag or name or "quantization_config" in ckpt.config
    return flag or name or declares_bnb(ckpt)


def _declared(ckpt: Checkpoint) -> Mapping[str, object]:
    block = ckpt.config.get("quantization_config")
    return block if isinstance(block, dict) else {}


def dynamic_quant_supported(skip_list: Sequence[str]) -> bool:
    """Whether ``vllm_dynamic_quant_supported`` accepts a skip list: every entry lies under a listed parent."""
    parents = [entry for entry in skip_list if _PARENT.search(entry) or "." not in entry]
    if not parents:
        return True
    return all(any(parent in entry for parent in parents) for entry in skip_list)


def _decisions(ckpt: Checkpoint, target: Target, data: Data) -> list[Event]:
    """Return what Unsloth's own code refuses or rewrites before vLLM sees the checkpoint."""
    events = []
    uses = uses_bitsandbytes(ckpt, target, data)
    block = _declared(ckpt)
    if declares_bnb(ckpt) and not uses and not _vllm_finds_out(target):
        events.append(Event("suffix-needed", "fails", {}, (Location(""),), error=_absmax_error(ckpt)))
    skip = block.get("llm_int8_skip_modules")
    listed = [item for item in skip if isinstance(item, str)] if isinstance(skip, list) else []
    if ckpt.label.endswith("unsloth-bnb-4bit") and not dynamic_quant_supported(listed):
        events.append(Event("dynamic-suffix-rewritten", "fails", {}, (Location(""),)))
    other = str(block.get("quant_method") or "").lower()
    if uses and other not in ("", BNB):
        events.append(_sent_as_bnb(other, target, data))
    elif uses and "fp8" in ckpt.label.lower() and facts.does(data, "fp8-by-name", _zoo(target)):
        events.append(Event("fp8-in-path", "fails", {}, (Location(""),), error="AssertionError"))
    if declares_bnb(ckpt):
        missing = tuple(key for key in _KEYS if key not in block)
        if missing:
            at = (Location("config.json", "/quantization_config"),)
            error = f"KeyError: '{missing[0]}'"
            events.append(Event("keys-missing", "fails", {"keys": missing}, at, error=error))
    return events


def _sent_as_bnb(method: str, target: Target, data: Data) -> Event:
    """Return what becomes of a checkpoint of another method that vLLM is told to read as bitsandbytes."""
    asserted = method in ("fp8", "fbgemm_fp8") and facts.does(data, "fp8-by-name", _zoo(target))
    error = (
        "AssertionError"
        if asserted
        else f"Quantization method specified in the model config ({method}) does not match the quantization method "
        "specified in the `quantization` argument (bitsandbytes)."
    )
    at = (Location("config.json", "/quantization_config/quant_method"),)
    return Event("other-method-as-bnb", "fails", {"method": method[:100]}, at, error=error)


def _precision(ckpt: Checkpoint, view: View, target: Target, data: Data) -> list[Event]:
    """Return where the precision differs from what ``load_in_4bit`` asks for, 16-bit weights in particular."""
    linear = [s for s in view.signatures if "*" in s.template and len(s.leaves) and s.leaf("weight")]
    dense = bool(linear) and all(family(s.stored.scheme) == "dense" for s in linear)
    if not dense or _declared(ckpt):
        return []
    uses, asked = uses_bitsandbytes(ckpt, target, data), _asks_4bit(target)
    named = ckpt.label.lower().endswith(SUFFIX)
    if uses and facts.regime(data, _zoo(target)) == "name":
        return [Event("suffix-on-dense", "fails", {"asked": asked}, (Location(""),))]
    if uses and asked and facts.does(data, "in-flight-convert-crash", _zoo(target)):
        return [Event("in-flight-crash", "fails", {}, (Location(""),))]
    if uses and not asked and named:
        return [Event("suffix-on-dense", "wrong-precision", {"asked": asked}, (Location(""),))]
    if asked and _bf16_suffix(ckpt, target, data):
        return [Event("bf16-suffix", "wrong-precision", {}, (Location(""),))]
    if asked and not uses:
        return [Event("flag-ignored", "wrong-precision", {}, (Location(""),))]
    return []


def _absmax_error(ckpt: Checkpoint) -> str:
    """Return what vLLM's plain loader trips over: the first companion it meets, without the model's prefix."""
    names = (name for shard in ckpt.shards.values() for name in shard.tensors if name.endswith(".absmax"))
    return f"RuntimeError: '{next(names, 'weight.absmax').removeprefix('model.')}'"


def _underneath(ckpt: Checkpoint, target: Target, data: Data) -> tuple[Vllm | Transformers, Data]:
    from .. import ruledata

    loaders = ruledata.load().loaders
    return (Vllm(), loaders["vllm"]) if _fast(target) else (Transformers(), loaders["transformers"])


def _inner_target(ckpt: Checkpoint, target: Target, data: Data) -> Target:
    """Return the target of the loader underneath: its versions, and what Unsloth passes to it."""
    if not _fast(target):
        return Target(
            "transformers",
            {"transformers": target.versions.get("transformers", "5.23.0")},
            {},
            origin=target.origin,
        )
    versions = {name: version for name, version in target.versions.items() if name.startswith("vllm")}
    told = {"quantization": BNB, "load_format": BNB} if uses_bitsandbytes(ckpt, target, data) else {}
    return Target("vllm", versions, told, origin=target.origin)


def _vllm_finds_out(target: Target) -> bool:
    """Whether vLLM itself picks its bitsandbytes loader from config.json."""
    from .. import ruledata

    data = ruledata.load().loaders["vllm"]
    return facts.does(data, "load-format-from-config", target.versions.get("vllm", ""))


def _other_method_disables(ckpt: Checkpoint, target: Target, data: Data) -> bool:
    """Whether ``check_and_disable_bitsandbytes_loading`` switches the flag off for another method."""
    method = str(_declared(ckpt).get("quant_method") or "")
    other = bool(method) and method.lower() != BNB
    return other and facts.does(data, "disables-bnb-for-other-methods", target.version, "unsloth_behaviour")


def _bf16_suffix(ckpt: Checkpoint, target: Target, data: Data) -> bool:
    named = ckpt.label.lower().endswith("-bf16")
    return named and facts.does(data, "bf16-suffix-forces-16bit", target.version, "unsloth_behaviour")


def _fast(target: Target) -> bool:
    return target.options.get("fast_inference", True) is not False


def _asks_4bit(target: Target) -> bool:
    return target.options.get("load_in_4bit", True) is not False


def _zoo(target: Target) -> str:
    return target.versions.get("unsloth_zoo", target.version)
