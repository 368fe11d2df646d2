"""What transformers itself builds for a configuration: names, shapes, kinds, ties, and the names it saves."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    PrefixChange,
    WeightConverter,
    WeightRenaming,
    rename_source_key,
    revert_weight_conversion,
)
from transformers.initialization import no_init_weights

from .observation import Observation, Shapes, environment

transformers.logging.set_verbosity(logging.CRITICAL + 1)
warnings.filterwarnings("ignore")


def described(class_name: str) -> Any:
    """The class in transformers, or what stands in for one that only vLLM has."""
    from .vllm.catalogue import CLASSES

    if class_name not in CLASSES:
        return getattr(transformers, class_name)
    from .vllm import classes

    return classes.described(class_name)


def observe(class_name: str, config: dict[str, Any]) -> Observation:
    """Build `class_name` on the meta device and read everything off it; raises what transformers raises."""
    model_class = described(class_name)
    if hasattr(model_class, "observed"):
        return model_class.observed(config)
    settings = model_class.config_class.from_dict(dict(config))
    env = environment(copy.deepcopy(settings), config)  # before the modules write to it
    with contextlib.redirect_stdout(io.StringIO()), torch.device("meta"), no_init_weights():
        model = model_class(settings)
    state = dict(model.state_dict())
    native = {name: tuple(tensor.shape) for name, tensor in state.items()}
    released = {name: tuple(t.shape) for name, t in revert_weight_conversion(model, dict(state)).items()}
    patterns = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_missing or ()]
    forgiven = frozenset(n for n in {**native, **released} if any(p.search(n) for p in patterns))
    native, released = (
        {name: shape for name, shape in shapes.items() if name not in forgiven}
        for shapes in (native, released)
    )
    return Observation(config, env, released, native, _kinds(model), _ties(model), model, forgiven)


def saved_as(model: Any, native: str) -> Shapes:
    """The names and shapes that one tensor of the model is saved under."""
    tensor = model.state_dict()[native]
    return {name: tuple(t.shape) for name, t in revert_weight_conversion(model, {native: tensor}).items()}


def dropped_prefixes(model: Any) -> Iterator[tuple[str, str]]:
    """Prefixes taken off on loading: (module path they stand in, prefix)."""
    changes = get_model_conversion_mapping(model) if isinstance(model, transformers.PreTrainedModel) else ()
    for change in changes:
        if isinstance(change, PrefixChange) and change.prefix_to_remove:
            yield ".".join(filter(None, (change.scope_prefix, change.model_prefix))), change.prefix_to_remove


def loads(seen: Observation, stored: str) -> bool:
    """Whether transformers has a place for a stored tensor; vLLM's names were seen to load."""
    model = seen.model
    if not isinstance(model, transformers.PreTrainedModel):
        return True
    changes = get_model_conversion_mapping(model)
    renamings = [change for change in changes if isinstance(change, WeightRenaming)]
    converters = [change for change in changes if isinstance(change, WeightConverter)]
    state = model.state_dict()
    return rename_source_key(stored, renamings, converters, model.base_model_prefix, state)[0] in seen.native


def _ties(model: Any) -> dict[str, str]:
    return dict(model.all_tied_weights_keys or {})


def _kinds(model: Any) -> dict[str, str]:
    kinds: dict[str, str] = {}
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for leaf, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            kinds[prefix + leaf] = (
                "head" if module is head and leaf == "weight" else _kind(module, prefix, leaf)
            )
    return kinds


def _kind(module: torch.nn.Module, path: str, leaf: str) -> str:
    name = type(module).__name__
    if leaf.endswith("bias") and "Experts" not in name:
        return "bias"
    if "Experts" in name or ".experts." in path:
        return "expert"
    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    if "Norm" in name:
        return "norm"
    if isinstance(module, torch.nn.Linear) or name == "Conv1D":
        return "linear"
    return "other"
