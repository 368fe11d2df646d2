"""The model of ``FastLanguageModel.from_pretrained(DIRECTORY)`` in Unsloth with unsloth_zoo.

With ``fast_inference`` (the default here) vLLM loads the weights; whether it is told "bitsandbytes" was decided by the
directory's name until unsloth_zoo 2025.3.9 and by more and more of the config since (``vllm_utils.load_vllm``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from .. import ruledata
from ..checkpoint.nouns import Checkpoint
from ..model import Evidence, Location, Target
from . import facts
from .base import Event, Loader, Plan, Reading, Run
from .shared.modules import family
from .transformers.model import Transformers
from .vllm.block import BNB, declares_bnb, declaring
from .vllm.model import Vllm

SUFFIX = "-bnb-4bit"
_KEYS = ("bnb_4bit_use_double_quant", "bnb_4bit_quant_type", "bnb_4bit_quant_storage")
_PARENT = re.compile(r"[\d]\.[^\.]+$")
_HERE = (Location(""),)


class UnslothRun(Run):
    """A run of Unsloth, and of the loader underneath."""

    @cached_property
    def block(self) -> Mapping[str, object]:
        """``quantization_config`` of config.json, empty where that is no object."""
        found = self.ckpt.config.get("quantization_config")
        return found if isinstance(found, dict) else {}

    @cached_property
    def method(self) -> str:
        """The method that config.json names, in lower case."""
        return str(self.block.get("quant_method") or "").lower()

    @cached_property
    def declares_bnb(self) -> bool:
        """Whether the checkpoint says bitsandbytes, as vLLM reads it."""
        return declares_bnb(declaring(self.ckpt))

    @cached_property
    def zoo(self) -> str:
        """The version of unsloth_zoo, which decides how vLLM is called."""
        return self.target.versions.get("unsloth_zoo", self.version)

    @cached_property
    def fast(self) -> bool:
        """Whether vLLM loads the weights."""
        return self.target.options.get("fast_inference", True) is not False

    @cached_property
    def asks_4bit(self) -> bool:
        """The user's flag ``load_in_4bit``."""
        return self.target.options.get("load_in_4bit", True) is not False

    @cached_property
    def named(self) -> bool:
        """The directory's name says 4-bit; as it was typed, so that a slash at the end defeats it."""
        return self.ckpt.label.lower().endswith(SUFFIX)

    @cached_property
    def named_bf16(self) -> bool:
        """The directory's name says 16-bit, and that counts (``FastModel.from_pretrained`` of models/loader.py)."""
        named = self.ckpt.label.lower().endswith("-bf16")
        return named and self._unsloth_does("bf16-suffix-forces-16bit")

    @cached_property
    def uses_bitsandbytes(self) -> bool:
        """Whether ``load_vllm`` asks vLLM for bitsandbytes (regimes by unsloth_zoo version)."""
        regime = facts.regime(self.data, self.zoo)
        if regime == "name":
            return self.named
        asked = (self.asks_4bit and not self._switched_off()) or self.named
        if regime == "flag-or-name":
            return asked
        if regime == "flag-or-name-or-any-config":
            return asked or "quantization_config" in self.ckpt.config
        return asked or self.declares_bnb

    def _switched_off(self) -> bool:
        """Whether ``check_and_disable_bitsandbytes_loading`` switches the flag off, for another method or by name."""
        other = self.method not in ("", BNB) and self._unsloth_does("disables-bnb-for-other-methods")
        return other or self.named_bf16

    def zoo_does(self, behaviour: str) -> bool:
        """Whether unsloth_zoo behaves so at the target's version."""
        return facts.does(self.data, behaviour, self.zoo)

    def _unsloth_does(self, behaviour: str) -> bool:
        return facts.does(self.data, behaviour, self.version, "unsloth_behaviour")

    def vllm_finds_out(self) -> bool:
        """Whether vLLM itself picks its bitsandbytes loader from config.json."""
        version = self.target.versions.get("vllm", "")
        return facts.does(self.loaders["vllm"], "load-format-from-config", version)

    def underneath(self) -> tuple[Loader, Run]:
        """Return the loader that Unsloth calls, and its run: its versions, and what Unsloth passes to it."""
        if not self.fast:
            known = self.loaders["transformers"]["releases"]["transformers"]
            newest = max(known, key=ruledata.parse_version)
            version = self.target.versions.get("transformers", newest)
            target = Target("transformers", {"transformers": version}, {}, origin=self.target.origin)
            return Transformers(), Run(self.ckpt, target, self.plan)
        versions = {
            name: version for name, version in self.target.versions.items() if name.startswith("vllm")
        }
        options = {"quantization": BNB, "load_format": BNB} if self.uses_bitsandbytes else {}
        target = Target("vllm", versions, options, origin=self.target.origin)
        return Vllm(), Run(self.ckpt, target, self.plan)


class Unsloth(Loader):
    """What Unsloth makes of a checkpoint: its own decisions, then those of the loader underneath."""

    def plan(self, run: Run) -> Plan:
        """Decide whether vLLM is told "bitsandbytes", then ask the model of the loader underneath."""
        run = UnslothRun.of(run)
        loader, inner = run.underneath()
        plan = loader.plan(inner)
        return plan._replace(events=(*(_decisions(run) if run.fast else ()), *plan.events))

    def read(self, run: Run) -> Reading:
        """Read as the loader underneath does, with Unsloth's precision as what was asked for."""
        run = UnslothRun.of(run)
        loader, inner = run.underneath()
        reading = loader.read(inner)
        precision = tuple(_precision(run)) if run.fast else ()
        events = (*reading.events, *precision)
        return reading._replace(
            target=run.target,
            events=events,
            evidence=_evidence(run, inner, reading, settled=bool(precision)),
            keeps_wide_floats=False,  # from_pretrained picks float16 or bfloat16 where no dtype is asked for
        )


def _evidence(run: UnslothRun, inner: Run, reading: Reading, *, settled: bool) -> Evidence:
    """What Unsloth itself decides rests on its source and on vLLM's arguments; all else on the loader underneath."""
    settled = settled or (run.fast and any(event.outcome == "fails" for event in _decisions(run)))
    below = facts.evidence(inner.data, inner.target, "arguments") if settled else reading.evidence
    return "source" if facts.evidence(run.data, run.target) == below == "source" else "assumed"


def dynamic_quant_supported(skip_list: Sequence[str]) -> bool:
    """Whether ``vllm_dynamic_quant_supported`` accepts a skip list: every entry lies under a listed parent."""
    parents = [entry for entry in skip_list if _PARENT.search(entry) or "." not in entry]
    if not parents:
        return True
    return all(any(parent in entry for parent in parents) for entry in skip_list)


def _decisions(run: UnslothRun) -> Iterator[Event]:
    """Yield what Unsloth's own code refuses or rewrites before vLLM sees the checkpoint."""
    if run.declares_bnb and not run.uses_bitsandbytes and not run.vllm_finds_out():
        yield Event("suffix-needed", "fails", {}, _HERE, error=_absmax_error(run.ckpt))
    yield from _rewritten(run)
    yield from _sent_as_bnb(run)
    missing = tuple(key for key in _KEYS if key not in run.block) if run.declares_bnb else ()
    if missing:
        at = (Location("config.json", "/quantization_config"),)
        yield Event("keys-missing", "fails", {"keys": missing}, at, error=f"KeyError: '{missing[0]}'")


def _rewritten(run: UnslothRun) -> Iterator[Event]:
    """``FastLanguageModel.from_pretrained`` drops the suffix where vLLM has no support for the dynamic skip list."""
    skip = run.block.get("llm_int8_skip_modules")
    listed = [item for item in skip if isinstance(item, str)] if isinstance(skip, list) else []
    if run.ckpt.label.endswith("unsloth-bnb-4bit") and not dynamic_quant_supported(listed):
        yield Event("dynamic-suffix-rewritten", "fails", {}, _HERE)


def _sent_as_bnb(run: UnslothRun) -> Iterator[Event]:
    """Yield what becomes of a checkpoint of another method that vLLM is told to read as bitsandbytes."""
    if not run.uses_bitsandbytes:
        return
    if run.method in ("", BNB):
        if "fp8" in run.ckpt.label.lower() and run.zoo_does("fp8-by-name"):
            yield Event("fp8-in-path", "fails", {}, _HERE, error="AssertionError")
        return
    asserted = run.method in ("fp8", "fbgemm_fp8") and run.zoo_does("fp8-by-name")
    error = (
        f"Quantization method specified in the model config ({run.method}) does not match the quantization method "
        "specified in the `quantization` argument (bitsandbytes)."
    )
    at = (Location("config.json", "/quantization_config/quant_method"),)
    details = {"method": run.method[:100]}
    yield Event("other-method-as-bnb", "fails", details, at, error="AssertionError" if asserted else error)


def _precision(run: UnslothRun) -> Iterator[Event]:
    """Yield where the precision differs from what ``load_in_4bit`` asks for, 16-bit weights in particular."""
    linear = [s for s in run.view.signatures if "*" in s.template and len(s.leaves) and s.leaf("weight")]
    dense = bool(linear) and all(family(s.stored.scheme) == "dense" for s in linear)
    if not dense or run.block:
        return
    if run.uses_bitsandbytes:
        yield from _quantised_on_load(run)
    elif run.asks_4bit:
        yield Event("bf16-suffix" if run.named_bf16 else "flag-ignored", "wrong-precision", {}, _HERE)


def _quantised_on_load(run: UnslothRun) -> Iterator[Event]:
    """Yield what becomes of 16-bit weights that vLLM is told to read as bitsandbytes (``load_vllm``)."""
    if facts.regime(run.data, run.zoo) == "name":
        yield Event("suffix-on-dense", "fails", {"asked": run.asks_4bit}, _HERE)
    elif run.asks_4bit and run.zoo_does("in-flight-convert-crash"):
        yield Event("in-flight-crash", "fails", {}, _HERE)
    elif not run.asks_4bit and run.named:
        yield Event("suffix-on-dense", "wrong-precision", {"asked": run.asks_4bit}, _HERE)
    elif run.asks_4bit and run.named_bf16:
        yield Event("bf16-suffix", "wrong-precision", {}, _HERE)


def _absmax_error(ckpt: Checkpoint) -> str:
    """Return what vLLM's plain loader trips over: the first companion it meets, without the model's prefix."""
    names = (name for shard in ckpt.shards.values() for name in shard.tensors if name.endswith(".absmax"))
    return f"RuntimeError: '{next(names, 'weight.absmax').removeprefix('model.')}'"


LOADER = Unsloth()
