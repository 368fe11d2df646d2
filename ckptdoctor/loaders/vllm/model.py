"""The model of ``vllm serve DIRECTORY`` on default arguments (or Unsloth's, which are options here).

Read off ``config/model.py``, ``model_loader/default_loader.py``, ``model_loader/weight_utils.py`` and the
bitsandbytes loader (in the core up to 0.27.1, in vllm-bnb-plugin since) of the released packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ... import ruledata
from ...checkpoint.nouns import Checkpoint, Signature, View
from ...model import Facts, Location, Outcome, Target
from ..adapter.tensors import CONFIG
from ..base import Event, Plan, Reading
from ..shared import facts, skips
from ..shared.completeness import tensor_events
from ..shared.configs import differing_class, known_model_types, model_type_events, value_events
from ..shared.modules import (
    ROUTERS,
    Architecture,
    all_readable,
    architecture,
    family,
    is_mlx,
    is_plain_weight,
    kind,
)
from ..shared.precision import SKIPPED, UNDECLARED, Held, disagreements, hold
from ..shared.quantised.declared import block_in_vllm
from . import adapter as vllm_adapter
from . import parallel
from . import quantised as in_vllm
from .files import BNB, pick_files, refused_class
from .tensors import outcome_of_mismatch, outcome_of_missing, outcome_of_unexpected, stray_companions

Data = Mapping[str, object]
_CONFIGS = frozenset({"config.json", "generation_config.json"})


class Vllm:
    """What vLLM makes of a checkpoint."""

    name = "vllm"

    def plan(self, ckpt: Checkpoint, target: Target, data: Data) -> Plan:
        """Settle the method, then pick the weight files."""
        if "config.json" not in ckpt.entries:
            if CONFIG in ckpt.entries:
                return vllm_adapter.plan(ckpt, target, data)
            return _without_config(ckpt)
        method, events, needs = settle_method(ckpt, target, data)
        files, opened, refusals = pick_files(ckpt, method, target, data)
        declares = ckpt.config.get("quantization_config") is not None  # then nobody opens ModelOpt's own file
        sidecars = {"hf_quant_config.json"} & ckpt.entries.keys() if not declares else set()
        return Plan(
            files,
            frozenset(_CONFIGS | opened | sidecars | set(files)),
            (
                *model_type_events(ckpt, _model_types(data, target.version)),
                *value_events(ckpt, validated=True),
                *differing_class(ckpt),
                *events,
                *refusals,
            ),
            method,
            unknown=_unmodelled(method, files, ckpt, events + refusals)
            or in_vllm.unread(method, target, data)
            or _unlisted(ckpt, target.version, data),
            needs=needs,
        )

    def read(self, ckpt: Checkpoint, view: View, plan: Plan, target: Target, data: Data) -> Reading:
        """Say how every weight is held, and what is missing, in excess or misshapen."""
        if plan.method == "lora":
            told, unknown = vllm_adapter.judge(ckpt, target)
            return Reading(
                target, plan._replace(unknown=unknown), {}, tuple(told), facts.evidence(data, target)
            )
        known = architecture(ckpt, view, "class")
        events = list(plan.events)
        held: Held = {}
        if plan.files and not plan.unknown and not is_mlx(ckpt):
            in_flight = bool(target.options.get("quantization")) and not declares_bnb(ckpt)
            experts = facts.does(data, "bnb-experts-load", target.version)
            read_as = self._reader(ckpt, plan.method, known, data, in_flight, experts)
            skipped = _skipper(ckpt, data)
            eight = block_in_vllm(ckpt).get("load_in_8bit") is True
            if plan.method in in_vllm.FAMILIES:
                block = block_in_vllm(ckpt)
                found = in_vllm.read(ckpt, view, known, plan.method, block, target, data)
                held, plan = found.held, plan._replace(unknown=found.doubt)
                events += found.events
            else:
                held = hold(view, read_as, lambda s: plan.method == BNB)
                events += disagreements(view, held, data, target, asked="bnb-4bit" if in_flight else "")
                events += stray_companions(view, plan.method, eight=eight)
            checked = facts.does(data, "expert-shapes-are-checked", target.version)
            if plan.method == BNB and not in_flight:
                events += refused_class(ckpt, target, data)
            drops = in_vllm.drops_name(ckpt, target, data)
            if plan.method == BNB and not in_flight and known.expected and _all_skipped(view, known, skipped):
                at = (Location("config.json", "/quantization_config/llm_int8_skip_modules"),)
                events.append(
                    Event("nothing-quantized", "fails", {"key": "llm_int8_skip_modules"}, at, error=_NOTHING)
                )
            events += tensor_events(
                view,
                known,
                lambda row: outcome_of_missing(row, known, plan.method, skipped, target, data),
                unexpected=lambda template: (
                    "unknown"  # one expert too many is passed over, a layer too many is not
                    if ".experts." in template and plan.method in in_vllm.FAMILIES
                    else outcome_of_unexpected(template, plan.method, drops, target, data, eight=eight)
                ),
                of_mismatch=lambda row: (
                    "unknown"
                    if ".experts." in row.template and not checked
                    else outcome_of_mismatch(row, known, plan.method, skipped)
                ),
                bare="fails",
                doubled="fails",
                readable=all_readable(ckpt, view) and not plan.unknown,
            )
        split = parallel.legal(ckpt, plan.method, target, data) if "config.json" in ckpt.entries else None
        events += _not_split(ckpt, plan.method, target, data)
        return Reading(target, plan, held, tuple(events), facts.evidence(data, target), split)

    def _reader(
        self, ckpt: Checkpoint, method: str, known: Architecture, data: Data, in_flight: bool, experts: bool
    ) -> Callable[[Signature, str], str]:
        """Return the function that says at which scheme one module is held under ``method``."""
        block = block_in_vllm(ckpt)
        skipped = _skipper(ckpt, data)
        wanted = "bnb-8bit" if block.get("load_in_8bit") and not in_flight else "bnb-4bit"

        def read(signature: Signature, module: str) -> str:
            stored = signature.stored.scheme
            what = kind(signature, known)
            if (
                method == BNB
                and not in_flight
                and what == "expert"
                and (family(stored) == "dense" or wanted == "bnb-8bit" or not experts)
            ):
                return "bnb-experts"
            linear = what == "linear" or module.rpartition(".")[2] in ROUTERS
            converted = method == BNB and linear and not skipped(module)
            if not converted:
                if (
                    signature.stored.quantized
                    and not method
                    and stored not in ("bnb-nf4", "bnb-fp4", "bnb-int8")
                ):
                    return UNDECLARED
                packed = family(stored) in ("bnb-4bit", "bnb-8bit") and what != "expert"
                if (
                    not method
                    and family(stored) in ("integers", "float8")
                    and is_plain_weight(signature, known)
                ):
                    return "bf16"  # copied into the parameter, cast and all
                return (SKIPPED if method == BNB else UNDECLARED) if packed else stored
            if in_flight and family(stored) in ("bnb-4bit", "bnb-8bit"):
                return UNDECLARED  # the packed bytes are taken for weights that are still to be quantised
            return (
                stored
                if family(stored) == wanted
                else {"bnb-8bit": "bnb-int8", "bnb-4bit": "bnb-nf4"}[wanted]
            )

        return read


def _not_split(ckpt: Checkpoint, method: str, target: Target, data: Data) -> list[Event]:
    """Return the refusal of the number of devices that the target asks for (bitsandbytes has a rule of its own)."""
    number = target.options.get("tp", 1)
    why = parallel.reason(ckpt, method, number, target, data) if type(number) is int else ""
    if not why or type(number) is not int:
        return []
    told: Facts = {"tp": number, "why": why, "legal": parallel.of_text(ckpt, method, target, data)}
    return [Event("tensor-parallel", "fails", told, (Location("config.json"),))]


def _skipper(ckpt: Checkpoint, data: Data) -> Callable[[str], bool]:
    """Return the test "does the skip list of config.json name this module (or this weight's module)"."""
    listed = block_in_vllm(ckpt).get("llm_int8_skip_modules")
    patterns = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
    listed = skips.vllm_bnb(patterns)
    return lambda name: listed(fused_name(name.removesuffix(".weight"), data))


_NOTHING = "AssertionError: vLLM currently does not support BNB quantization for"


def _all_skipped(view: View, known: Architecture, skipped: Callable[[str], bool]) -> bool:
    """Whether the skip list names every linear layer, so that the loader finds nothing to quantise."""
    linear = [s for s in view.signatures if kind(s, known) in ("linear", "expert")]
    return bool(linear) and all(skipped(module) for s in linear for module in s.modules)


def declares_bnb(ckpt: Checkpoint) -> bool:
    """Whether config.json itself says bitsandbytes (vLLM then takes the weights as pre-quantised)."""
    return str(block_in_vllm(ckpt).get("quant_method", "")).lower() == BNB


def fused_name(module: str, data: Data) -> str:
    """Return vLLM's own name of ``module``: parts of a fused group go by the group's name."""
    parent, _, last = module.rpartition(".")
    for name, parts in facts.groups(data):
        if last in parts:
            return f"{parent}.{name}" if parent else name
    return module


def settle_method(ckpt: Checkpoint, target: Target, data: Data) -> tuple[str, list[Event], tuple[str, ...]]:
    """Return the quantisation method, refusals, and the packages it takes."""
    at = (Location("config.json", "/quantization_config"),)
    version = target.version
    block = block_in_vllm(ckpt)
    if is_mlx(ckpt):
        return "", [Event("mlx", "fails", {}, at)], ()
    method = str(block.get("quant_method") or "").lower().replace("compressed_tensors", "compressed-tensors")
    argument = target.options.get("quantization")
    if not method and block and not facts.does(data, "empty-method-is-none", version):
        return "", [Event("method-unknown", "fails", {"method": ""}, at)], ()
    method = method or (str(argument) if argument else "")
    if not method:
        return "", [], ()
    rows = [row for row in facts.rows(data, "methods") if row["method"] == method]
    if any(ruledata.matches(row["versions"], version) for row in rows):
        refused = _missing_keys(method, block, version, data) or in_vllm.refusals(method, block, target, data)
        named = next((row["needs"] for row in facts.rows(data, "packages") if row["method"] == method), ())
        return (
            method,
            refused,
            tuple(f"{name} (pip install {name})" for name in named if name not in target.versions),
        )
    for row in facts.rows(data, "plugins"):
        if row["method"] != method or not ruledata.matches(row["versions"], version):
            continue
        package = row["package"]
        if package in target.versions:
            return method, [], ()
        need = (f"{package} (pip install {package})",)
        outcome: Outcome = "unknown" if target.origin == "assumed" else "fails"
        error = f"ValueError: Unknown quantization method: {method}."
        return (
            method,
            [Event("package-missing", outcome, {"package": package, "method": method}, at, error=error)],
            need,
        )
    error = f"ValueError: Unknown quantization method: {method}."
    return method, [Event("method-unknown", "fails", {"method": method[:100]}, at, error=error)], ()


def _missing_keys(method: str, block: Mapping[str, object], version: str, data: Data) -> list[Event]:
    """Return the refusal of a block that lacks a key its method's ``from_config`` insists on."""
    for row in facts.rows(data, "required_keys"):
        if row["method"] == method and ruledata.matches(row["versions"], version):
            missing = tuple(key for key in row["keys"] if key not in block)
            if missing:
                error = f"ValueError: Cannot find any of ['{missing[0]}'] in the model's quantization config."
                at = (Location("config.json", "/quantization_config"),)
                return [
                    Event(
                        "method-keys-missing", "fails", {"method": method, "keys": missing}, at, error=error
                    )
                ]
    return []


def _model_types(data: Data, version: str) -> frozenset[str]:
    """Return the names AutoConfig knows in transformers 5 and those of vLLM's own config registry."""
    own = known_model_types(data, version)
    return own | known_model_types(ruledata.load().loaders["transformers"], "5") if own else frozenset()


def _unlisted(ckpt: Checkpoint, version: str, data: Data) -> str:
    """Say that vLLM's registry does not list the architecture, and in which versions it does; "" when it is listed.

    vLLM may still run such a model through transformers, which depends on code that is not looked at here.
    """
    names = ckpt.config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    rows = facts.rows(data, "architectures") if name else []
    spans = [row["versions"] for row in rows if name in row["names"] and name in row["names"].split()]
    if not rows or any(ruledata.matches(span, version) for span in spans):
        return ""
    if not spans:
        return f"vLLM's registry does not list {name[:60]}"
    return f"vLLM's registry is known to list {name[:60]} only in {' and '.join(map(facts.in_words, spans))}"


def _unmodelled(method: str, files: tuple[str, ...], ckpt: Checkpoint, events: list[Event]) -> str:
    if method not in ("", BNB, *in_vllm.FAMILIES) and not events:
        return f"{method} in vLLM is not modelled yet"
    if not files and not events:
        pickled = any(name.endswith((".bin", ".pt")) for name in ckpt.entries)
        return (
            "only pickled weights, which are never opened" if pickled else "no weight file is known by name"
        )
    return ""


def _without_config(ckpt: Checkpoint) -> Plan:
    if ckpt.label.endswith(".safetensors"):
        return Plan((), frozenset(ckpt.entries), unknown="a single file: no config.json was looked at")
    if ckpt.metadata_only:
        return Plan((), frozenset(ckpt.entries), unknown="no config.json here")
    return Plan((), frozenset(ckpt.entries), (Event("no-config", "fails"),))
