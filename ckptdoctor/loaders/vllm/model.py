"""The model of ``vllm serve DIRECTORY`` on default arguments (or Unsloth's, which are options here).

Read off ``config/model.py``, ``model_loader/default_loader.py``, ``model_loader/weight_utils.py`` and the
bitsandbytes loader (in the core up to 0.27.1, in vllm-bnb-plugin since) of the released packages.
"""

from __future__ import annotations

from ...model import Location
from ..adapter.tensors import CONFIG
from ..base import Data, Event, Loader, Plan, Reading, Run, SkipList
from ..shared.completeness import uncompared
from ..shared.configs import (
    differing_class,
    foreign_class,
    known_model_types,
    model_type_events,
    value_events,
)
from ..shared.files import NAMELESS, PICKLED
from ..shared.reading import by_method, loads, of_adapter
from ..shared.words import word_events
from . import adapter, parallel
from .files import Files, pick_files
from .method import VllmMethod
from .methods import strategy
from .run import VllmRun
from .settle import settle, unlisted
from .skiplist import VllmSkipList

_OWN_ACTIVATION = ["GemmaForCausalLM"]
"""``hidden_act`` is passed over: ``_get_gemma_act_fn`` of models/gemma.py."""
_CONFIGS = frozenset({"config.json", "generation_config.json"})


class Vllm(Loader):
    """What vLLM makes of a checkpoint."""

    def plan(self, run: Run) -> Plan:
        """Build the config (``ModelConfig``), settle the method, then pick the weight files."""
        run = VllmRun.of(run)
        if "config.json" not in run.ckpt.entries:
            return adapter.plan(run) if CONFIG in run.ckpt.entries else _without_config(run)
        settled = settle(run)
        files = pick_files(run, settled.method)
        return Plan(
            files.weights,
            frozenset(_CONFIGS | files.opened | _sidecars(run) | set(files.weights)),
            (*_config_events(run), *settled.events, *files.events),
            settled.method,
            _unknown(run, strategy(run, settled.method), files, settled.events + files.events),
            settled.needs,
        )

    def read(self, run: Run) -> Reading:
        """Read by the method, compare names and shapes (``load_weights``), then split (``ParallelConfig``)."""
        run = VllmRun.of(run)
        if run.plan.method == "lora":
            return of_adapter(run, *adapter.judge(run))
        method = strategy(run, run.plan.method)
        further = (*parallel.refusal(run, method), *_router_bias(run))
        reading = by_method(run, run.known, method, further)
        if other := foreign_class(run.ckpt):
            names, shapes = uncompared(other)
            reading = reading._replace(names=names, shapes=shapes)
        return reading._replace(tensor_parallel=parallel.legal(run, method), rebuilds=True)

    def skip_list(self, data: Data) -> SkipList:
        """``is_layer_skipped_bnb``, asked about fused layers."""
        return VllmSkipList(data)


def _router_bias(run: VllmRun) -> list[Event]:
    """``DeepseekV2MoE`` of models/deepseek_v2.py has the router's bias only where config.json says ``noaux_tc``."""
    bias = "e_score_correction_bias"
    asked = any(row["architecture"] in run.architectures for row in run.rows("router_bias_by_topk_method"))
    if not asked or run.ckpt.config.get("topk_method") == "noaux_tc" or not loads(run):
        return []
    for signature in run.view.signatures:
        if signature.leaf(bias):
            at = (Location("config.json"), *run.view.locate(signature, bias))
            error = f"KeyError: '{signature.modules[0].removeprefix('model.')}.{bias}'"
            return [
                Event("router-bias-unread", "fails", {}, at, signature.template, signature.count, error=error)
            ]
    return []


def _sidecars(run: VllmRun) -> set[str]:
    """ModelOpt's own file; ``get_config`` opens it only where config.json declares nothing."""
    declares = run.ckpt.config.get("quantization_config") is not None
    return set() if declares else {"hf_quant_config.json"} & run.ckpt.entries.keys()


def _config_events(run: VllmRun) -> list[Event]:
    """Return what ``get_config`` refuses: AutoConfig of transformers, and vLLM's own registry of configs."""
    own = known_model_types(run.data, run.version)
    types = own | known_model_types(run.loaders["transformers"], "5") if own else own
    return [
        *model_type_events(run.ckpt, types),
        *value_events(run.ckpt, validated=True, uncountable="fails"),
        *word_events(run.ckpt, integers=False, activations=run.architectures != _OWN_ACTIVATION),
        *differing_class(run.ckpt),
    ]


def _unknown(run: VllmRun, method: VllmMethod, files: Files, events: list[Event]) -> str:
    """Return why nothing can be said, "" where something can."""
    if not events:
        if not method.modelled:
            return f"{method.method} in vLLM is not modelled yet"
        if not files.weights:
            pickled = any(name.endswith((".bin", ".pt")) for name in run.ckpt.entries)
            return PICKLED if pickled else NAMELESS
    return method.unread() or unlisted(run)


def _without_config(run: VllmRun) -> Plan:
    everything = frozenset(run.ckpt.entries)
    if run.ckpt.label.endswith(".safetensors"):
        return Plan((), everything, unknown="a single file: no config.json was looked at")
    if run.ckpt.metadata_only:
        return Plan((), everything, unknown="no config.json here")
    return Plan((), everything, (Event("no-config", "fails"),))
