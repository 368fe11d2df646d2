"""The model of ``AutoModel….from_pretrained(DIRECTORY)`` in transformers, on default arguments.

Order as in ``modeling_utils.py`` and ``quantizers/auto.py`` of 5.23.0: one single file before an index, quantiser by
``load_in_4bit``/``load_in_8bit`` before ``quant_method``, missing tensors initialised and reported, never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ... import ruledata
from ...checkpoint.nouns import Checkpoint, Index, View
from ...expected.comparison import Mismatch, Missing
from ...model import Location, Outcome, Target
from ..adapter import judge as adapter
from ..base import Event, Plan, Reading
from ..shared import facts, skips
from ..shared.completeness import tensor_events
from ..shared.configs import dtype_events, known_model_types, model_type_events, unread_keys, value_events
from ..shared.folders import CONFIG_FILES, beside_an_adapter, without_config
from ..shared.modules import Architecture, all_readable, architecture, family, is_convertible, is_mlx
from ..shared.precision import Held, disagreements, hold
from . import quantised as in_transformers
from .flow import mixed_dtypes
from .stored_as import is_linear, read_as

_NO_METHOD = "ValueError: The model's quantization config from the arguments has no `quant_method` attribute"
_META = "NotImplementedError: Cannot copy out of meta tensor; no data!"
_NULL = "AttributeError: 'NoneType' object has no attribute 'to_dict'"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


class Transformers:
    """What transformers makes of a checkpoint."""

    name = "transformers"

    def plan(self, ckpt: Checkpoint, target: Target, data: Mapping[str, object]) -> Plan:
        """Pick files and quantiser."""
        here = ckpt.entries
        if "config.json" not in here:
            return without_config(ckpt)
        if "adapter_config.json" in here:
            return beside_an_adapter(ckpt)
        files, _, events = weight_files(ckpt)
        opened = CONFIG_FILES | set(files)
        if "model.safetensors" not in here:  # opened even when it turns out to be unreadable
            opened |= {"model.safetensors.index.json"} & here.keys()
        if not files and not events and any(name in here for name in _PICKLES):
            return Plan((), frozenset(opened), unknown="only pickled weights, which are never opened")
        if not files and not events:
            if ckpt.metadata_only:
                return Plan((), frozenset(opened), unknown="no weight file is known by name")
            events.append(
                Event("no-weights", "fails", error="OSError: Error no file named model.safetensors")
            )
        method, refusals = quantizer(ckpt, target.version, data)
        events += unread_keys(ckpt, target.version, data)
        validated = facts.does(data, "config-is-validated", target.version)
        events += [*value_events(ckpt, validated=validated), *dtype_events(ckpt)]
        events += model_type_events(ckpt, known_model_types(data, target.version))
        return Plan(
            files,
            frozenset(opened),
            (*events, *refusals),
            method,
            _unmodelled(method),
            _needs(method, target, data),
        )

    def read(
        self, ckpt: Checkpoint, view: View, plan: Plan, target: Target, data: Mapping[str, object]
    ) -> Reading:
        """Say how every weight is held, and what is missing, mismatched or read as what it is not."""
        known = architecture(ckpt, view, "type")
        if plan.method == "lora":
            told, unknown = adapter.judge(ckpt)
            alone = "" if unknown == adapter.NO_BASE else unknown  # it may be merged into any base later
            plan = plan._replace(unknown=alone)
            return Reading(target, plan, {}, (*plan.events, *told), facts.evidence(data, target))
        events = list(plan.events)
        held: Held = {}
        if plan.files and not plan.unknown and not is_mlx(ckpt):
            skipped = _skipper(ckpt, known, target, data)
            dtype, method = _dtype(ckpt), plan.method
            bnb = method.startswith("bnb-")
            fused = facts.does(data, "experts-are-fused", target.version)
            if method in in_transformers.METHODS:
                found = in_transformers.read(ckpt, view, known, method, target, data, dtype)
                held, plan = found.held, plan._replace(unknown=found.doubt)
                events += found.events
            else:
                held = hold(
                    view,
                    lambda signature, module: read_as(
                        signature, module, method, known, skipped, dtype, fused=fused
                    ),
                    lambda signature: bnb and is_linear(signature, method, known, fused=fused),
                )
                events += disagreements(view, held, data, target, skipped=_passed_over(ckpt, method))
                if bnb and facts.does(data, "bnb-keeps-dtype-of-file", target.version):
                    events += mixed_dtypes(
                        view, known, lambda s, m: is_convertible(s, known) and not skipped(m)
                    )
                events += _declared_otherwise(ckpt, view, method, target, data)
            adds = facts.does(data, "adds-base-prefix", target.version)
            misnamed: Outcome = "ok" if adds else "fails" if bnb else "corrupt"
            events += tensor_events(
                view,
                known,
                lambda row: _outcome_of_missing(ckpt, row, known, plan, skipped, target, data),
                unexpected=lambda template: "fails" if bnb and not adds and ".weight." in template else "ok",
                of_mismatch=lambda row: "fails-late" if bnb and _is_matrix(row, skipped) else "fails",
                bare=misnamed if adds or _partly_bare(view, known) else "fails",
                doubled=misnamed,
                readable=all_readable(ckpt, view) and not plan.unknown,
            )
        return Reading(target, plan, held, tuple(events), facts.evidence(data, target))


def weight_files(ckpt: Checkpoint) -> tuple[tuple[str, ...], Index | None, list[Event]]:
    """Return the safetensors files transformers opens, the index that named them, and why it cannot go on."""
    if "model.safetensors" in ckpt.entries:
        return ("model.safetensors",), None, []
    index = ckpt.index
    if index is None:
        return (), None, []
    missing = [name for name in index.files if name not in ckpt.shards]
    files = tuple(name for name in index.files if name in ckpt.shards)
    if not missing or ckpt.metadata_only:
        return files, index, []
    event = Event(
        "shard-missing",
        "fails",
        {"shards": len(missing)},
        tuple(Location(index.file, note=name) for name in missing),
        count=len(missing),
        error="FileNotFoundError: No such file or directory",
    )
    return files, index, [event]


def quantizer(ckpt: Checkpoint, version: str, data: Mapping[str, object]) -> tuple[str, list[Event]]:
    """Return the method (``bnb-4bit``, ``bnb-8bit``, another ``quant_method`` or "") and refusals of the block."""
    block = ckpt.config.get("quantization_config")
    at = (Location("config.json", "/quantization_config"),)
    if block is None:
        refused = "quantization_config" in ckpt.config and facts.does(
            data, "null-quantization-raises", version
        )
        return "", [Event("quantization-config-type", "fails", {}, at, error=_NULL)] if refused else []
    if not isinstance(block, dict):
        return "", [Event("quantization-config-type", "fails", {}, at)]
    if is_mlx(ckpt):
        return "", [Event("mlx", "fails", {}, at, error=_NO_METHOD)]
    four, eight = bool(block.get("load_in_4bit")), bool(block.get("load_in_8bit"))
    if four and eight:
        error = "ValueError: load_in_4bit and load_in_8bit are both True, but only one can be used at the same time"
        return "", [Event("both-widths", "fails", {}, at, error=error)]
    if four or eight:
        return ("bnb-4bit" if four else "bnb-8bit"), []
    method = block.get("quant_method")
    if not isinstance(method, str) or not method:
        return "", [Event("no-quant-method", "fails", {}, at, error=_NO_METHOD)]
    known = data.get("methods")
    names = known.get("known", ()) if isinstance(known, Mapping) else ()
    if method == "bitsandbytes" or method not in names:  # a bare "bitsandbytes" is not a registered name
        return "", [Event("quantizer-skipped", "ok", {"method": method[:100]}, at)]
    return method, []


def _passed_over(ckpt: Checkpoint, method: str) -> str:
    """Return the method that config.json declares where transformers goes on without one, "" otherwise.

    ModelOpt of old declares it in a file of its own, which transformers never opens.
    """
    block = ckpt.config.get("quantization_config")
    if block is None and ckpt.object("hf_quant_config.json").get("quantization"):
        return "modelopt"
    named = block.get("quant_method") if isinstance(block, dict) and not method else ""
    return named[:100] if isinstance(named, str) else ""


def _skipper(
    ckpt: Checkpoint, known: Architecture, target: Target, data: Mapping[str, object]
) -> Callable[[str], bool]:
    """Return the test "is this module left alone", in the dialect of the version."""
    block = ckpt.config.get("quantization_config")
    listed = block.get("llm_int8_skip_modules") if isinstance(block, dict) else None
    if isinstance(listed, list):
        patterns = [item for item in listed if isinstance(item, str)]
    else:
        patterns = list(_default_skips(known))
    if not facts.does(data, "skip-list-is-regex-or-suffix", target.version):
        return skips.transformers4([*patterns, *_heads(known)] if not isinstance(listed, list) else patterns)
    # 5.x renames the head on load (conversion_mapping.py) and asks the list about the name that it has then
    match, heads = skips.transformers5(patterns), frozenset(_heads(known))
    return lambda name: match("lm_head" if name in heads else name)


def _heads(known: Architecture) -> Iterable[str]:
    """Yield other names that the files of this architecture have for the output embedding (``embed_out``)."""
    if known.expected is not None:
        yield from (old for new, old in known.expected.renamed if new == "lm_head")


def _default_skips(known: Architecture) -> Iterable[str]:
    """The output embedding and whatever is tied to it are kept (``get_keys_to_not_convert``)."""
    yield "lm_head"
    if known.expected is not None:
        for group in known.expected.tied:
            yield from (name.removesuffix(".weight") for name in group)


def _outcome_of_missing(
    ckpt: Checkpoint,
    row: Missing,
    known: Architecture,
    plan: Plan,
    skipped: Callable[[str], bool],
    target: Target,
    data: Mapping[str, object],
) -> Outcome:
    """Every missing tensor is initialised anew and only reported.

    Two things cannot be: a packed integer weight, and some of a layer's experts where all are fused on load (5.x).
    """
    method, sharded = plan.method, len(plan.files) > 1
    if method in in_transformers.METHODS and row.kind == "linear":
        block = ckpt.config.get("quantization_config")
        return in_transformers.of_missing(row, method, block if isinstance(block, dict) else {}, target, data)
    modules = (name.removesuffix(".weight") for name in row.names)
    packed = method.startswith("bnb-") and row.kind in ("linear", "head")
    if packed and not all(map(skipped, modules)):
        return "fails"
    if row.kind == "norm" and sharded and facts.does(data, "sharded-norms-stay-meta", target.version):
        return "fails-late"
    if row.kind == "expert" and facts.does(data, "experts-are-fused", target.version):
        return "fails" if _some_experts(row, known) else "corrupt"
    return "corrupt"


def _is_matrix(row: Mismatch, skipped: Callable[[str], bool]) -> bool:
    """Whether a misshapen weight is quantised on load, where nobody looks at its shape."""
    module = row.name.removesuffix(".weight")
    return module.endswith("_proj") and not skipped(module)


def _partly_bare(view: View, known: Architecture) -> bool:
    """Whether some names have the base model's prefix and others lack it: then 4.x misses the latter."""
    prefix = known.expected.prefix if known.expected else ""
    return any(signature.template.startswith(f"{prefix}.") for signature in view.signatures)


def _declared_otherwise(
    ckpt: Checkpoint, view: View, method: str, target: Target, data: Mapping[str, object]
) -> Iterator[Event]:
    """Yield where the block names another 4-bit type than the tensors have, or nesting they lack (4.x asks)."""
    if method != "bnb-4bit" or not facts.does(data, "bnb-keys-from-config", target.version):
        return
    block = ckpt.config.get("quantization_config")
    declared = block if isinstance(block, dict) else {}
    quant_type = declared.get("bnb_4bit_quant_type", "fp4")
    packed = [s for s in view.signatures if family(s.stored.scheme) == "bnb-4bit"]
    stored = {s.stored.scheme.removeprefix("bnb-") for s in packed}
    nested = any(s.leaf("weight.nested_absmax") for s in packed)
    at = (Location("config.json", "/quantization_config"),)
    if stored and quant_type not in stored:
        facts_ = {
            "key": "bnb_4bit_quant_type",
            "declared": str(quant_type)[:20],
            "stored": ", ".join(sorted(stored)),
        }
        yield Event("bnb-declared-otherwise", "fails", facts_, at, error=_META)
    elif stored and declared.get("bnb_4bit_use_double_quant") is True and not nested:
        facts_ = {"key": "bnb_4bit_use_double_quant", "declared": "true", "stored": "not nested"}
        yield Event("bnb-declared-otherwise", "fails", facts_, at, error=_META)


def _some_experts(row: Missing, known: Architecture) -> bool:
    """Whether a layer lacks some of its experts but not all of them."""
    entries = known.expected.entries.get(row.template, ()) if known.expected else ()
    per_layer = max((len(entry.indices[-1]) for entry in entries if len(entry.indices) > 1), default=0)
    lost: dict[str, int] = {}
    for index in row.indices:
        lost[index[0]] = lost.get(index[0], 0) + 1
    return any(count < per_layer for count in lost.values())


def _dtype(ckpt: Checkpoint) -> str:
    """Scheme id of the dtype in config.json (``dtype`` wins over ``torch_dtype``), "" when it names none."""
    names = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64"}
    for key in ("dtype", "torch_dtype"):
        value = ckpt.config.get(key)
        if isinstance(value, str):
            return names.get(value.removeprefix("torch."), "")
    return ""


def _needs(method: str, target: Target, data: Mapping[str, object]) -> tuple[str, ...]:
    """Return the packages that ``method`` takes beside transformers, as far as the target does not have them."""
    rows = [row for row in facts.rows(data, "packages") if row["method"] == method]
    named = next((row["needs"] for row in rows if ruledata.matches(row["versions"], target.version)), ())
    return tuple(f"{name} (pip install {name})" for name in named if name not in target.versions)


def _unmodelled(method: str) -> str:
    known = method in ("", "bnb-4bit", "bnb-8bit") or method in in_transformers.METHODS
    return "" if known else f"{method} in transformers is not modelled yet"
