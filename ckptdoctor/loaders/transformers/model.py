"""The model of ``AutoModel….from_pretrained(DIRECTORY)`` in transformers, on default arguments.

Order as in ``PreTrainedModel.from_pretrained`` of modeling_utils.py: config, files, quantiser, weights (read off 4.57.6
and 5.23.0). Missing tensors are initialised and reported, never refused.
"""

from __future__ import annotations

from ...model import Aspect
from ..adapter import judge as adapter
from ..base import Data, Event, Loader, Plan, Reading, Run, SkipList
from ..shared.completeness import uncompared
from ..shared.configs import foreign_class, known_model_types, model_type_events, unread_keys, value_events
from ..shared.files import NAMELESS, PICKLED
from ..shared.reading import by_method, of_adapter
from ..shared.words import word_events
from .files import weight_files
from .folders import CONFIG_FILES, beside_an_adapter, without_config
from .methods import strategy
from .quantizer import lacking, quantizer
from .run import TransformersRun
from .skiplist import TransformersSkipList

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


class Transformers(Loader):
    """What transformers makes of a checkpoint."""

    def plan(self, run: Run) -> Plan:
        """Pick files (``_get_resolved_checkpoint_files``) and quantiser (``get_hf_quantizer``)."""
        run = TransformersRun.of(run)
        here = run.ckpt.entries
        if "config.json" not in here:
            return without_config(run)
        if "adapter_config.json" in here:
            return beside_an_adapter(run.ckpt)
        files, events = weight_files(run.ckpt)
        opened = CONFIG_FILES | set(files)
        if "model.safetensors" not in here:  # opened even when it turns out to be unreadable
            opened |= {"model.safetensors.index.json"} & here.keys()
        if not files and not events:
            unknown = _unopened(run)
            if unknown:
                return Plan((), frozenset(opened), unknown=unknown)
            error = "OSError: Error no file named model.safetensors"
            events = [Event("no-weights", "fails", error=error)]
        method, refusals = quantizer(run)
        modelled = strategy(run, method).modelled
        return Plan(
            files,
            frozenset(opened),
            (*events, *_config_events(run), *refusals),
            method,
            "" if modelled else f"{method} in transformers is not modelled yet",
            lacking(run, method),
        )

    def read(self, run: Run) -> Reading:
        """Read by the quantiser, then compare names and shapes (``_finalize_model_loading``)."""
        run = TransformersRun.of(run)
        if run.plan.method == "lora":
            return _adapter(run)
        reading = by_method(run, run.known, strategy(run, run.plan.method))
        if run.known.borrowed:
            reading = _of_own_code(reading, run.known.source)
        if other := foreign_class(run.ckpt):
            names, shapes = uncompared(other)
            reading = reading._replace(names=names, shapes=shapes)
        return reading._replace(keeps_wide_floats=True)

    def skip_list(self, data: Data) -> SkipList:
        """``should_convert_module``, by the names in the files."""
        return TransformersSkipList()


_SURPLUS = frozenset({"more-layers", "parameter-dropped", "unexpected-tensor"})


def _of_own_code(reading: Reading, source: str) -> Reading:
    """Return a reading by vLLM's class of that name, where the class is code that the checkpoint brings.

    What vLLM's misses, that code misses as well: both read the same checkpoints. What vLLM's does not ask for, it may.
    So nothing is called ``ok``.
    """
    events = tuple(
        event._replace(outcome="unknown") if event.code in _SURPLUS else event for event in reading.events
    )
    why = Aspect("no", f"the class is code that the checkpoint brings; its names are those of {source}")
    return reading._replace(events=events, shapes=why if reading.names.state == "yes" else reading.shapes)


def _unopened(run: TransformersRun) -> str:
    """Return why nothing is known of a folder without safetensors, "" where it is refused."""
    if any(name in run.ckpt.entries for name in _PICKLES):
        return PICKLED
    return NAMELESS if run.ckpt.metadata_only else ""


def _config_events(run: TransformersRun) -> list[Event]:
    """Return what ``AutoConfig.from_pretrained`` refuses, and keys that this version does not read."""
    return [
        *unread_keys(run.ckpt, run.version, run.data),
        *value_events(run.ckpt, validated=run.does("config-is-validated")),
        *word_events(run.ckpt, integers=True),
        *model_type_events(run.ckpt, known_model_types(run.data, run.version)),
    ]


def _adapter(run: TransformersRun) -> Reading:
    """``PeftAdapterMixin.load_adapter``: with PEFT installed, a folder without config.json may be an adapter."""
    events, unknown = adapter.judge(run)
    return of_adapter(run, [*run.plan.events, *events], unknown)
