"""Load a causal language model (or an adapter on one) in transformers and PEFT and say what became of it.

A parameter that the checkpoint did not supply is made NaN, so that a random value can never pass for a right one;
every other one is compared with the files and, where there is a sound twin, with the same model loaded from that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers

from . import holding, memory, tracing
from .against import ROUNDING
from .limits import is_env
from .raised import raised
from .stored import Stored, opened
from .templates import by_template

PACKAGES = (
    "transformers",
    "torch",
    "bitsandbytes",
    "peft",
    "accelerate",
    "safetensors",
    "compressed-tensors",
    "optimum",
    "gptqmodel",
    "torchao",
)
IDS = torch.tensor([[1, 17, 42, 99, 3, 200, 8, 64, 128, 250, 5, 31]])
TEXT_LIMIT = 2000
LOGIT_TOLERANCE = 1 / 32
OURS = ("quantization", "class", "base", "trust_remote_code")
Tell = Callable[..., None]
twins: dict[tuple[str, str | None], dict[str, Any] | None] = {}


def start() -> tuple[dict[str, str], str]:
    """The version of every package that takes part, and the device."""
    memory.remember_constructors()
    if find_spec("bitsandbytes"):
        import bitsandbytes.nn.modules

        # On a processor with AVX512-BF16 bitsandbytes repacks at the first forward pass and fails or succeeds in ways
        # of its own; the generic path is what the other processors take, and closer to CUDA.
        bitsandbytes.nn.modules.has_avx512bf16 = bool
    return versions(), device()


def versions() -> dict[str, str]:
    """The exact version of every package that takes part."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device() -> str:
    """`cuda` where there is one and it is not hidden, else `cpu`; RuntimeError where one is asked for and missing."""
    wanted = os.environ.get("CKPTDOCTOR_DEVICE", "auto")
    if wanted != "cpu" and torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise RuntimeError("no GPU that this torch can use: torch.cuda.is_available() is false")
    return "cpu"


def load(path: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model at `path` as a user would load it, and its loading info."""
    if "base" in options:
        from peft import PeftModel

        model, _ = load(options["base"], {})
        return PeftModel.from_pretrained(model, path).eval(), {}
    keywords = {key: value for key, value in options.items() if key not in OURS}
    keywords["trust_remote_code"] = bool(options.get("trust_remote_code"))
    if "quantization" in options:
        keywords["quantization_config"] = transformers.BitsAndBytesConfig(**options["quantization"])
    if device() == "cuda":
        keywords["device_map"] = {"": "cuda:0"}
    chosen = getattr(transformers, options.get("class", "AutoModelForCausalLM"))
    model, info = chosen.from_pretrained(path, dtype="auto", output_loading_info=True, **keywords)
    return model.eval(), info


def build(path: str, options: dict[str, Any]) -> None:
    """Build the model without its weights."""
    trusted = bool(options.get("trust_remote_code"))
    config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=trusted)
    with torch.device("meta"):
        transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)


def logits(model: Any) -> torch.Tensor:
    """The logits for the fixed tokens, in float32; raises when they have no values (a model left on `meta`)."""
    with torch.no_grad():
        tokens = (IDS % model.config.get_text_config().vocab_size).to(device())
        inputs = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
        found = model(input_ids=tokens, **inputs)
        return (found[0] if "start_logits" in found else found.logits).float().cpu()


def twin(path: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """Values and logits of the sound checkpoint at `path`, loaded once; None when this version cannot load it."""
    key = (path, options.get("base"))
    if key not in twins:
        try:
            kept = {name: value for name, value in options.items() if name in ("base", "class")}
            model, _ = load(path, kept)
            twins[key] = {"values": holding.values(model), "logits": logits(model)}
        except Exception:
            twins[key] = None
    return twins[key]


class Load:
    """One load: the stage it reached, the model, and what is found about it."""

    def __init__(self, request: dict[str, Any], tell: Tell) -> None:
        self.path, self.options = Path(request["path"]), request["options"]
        self.until = request.get("until", "generate")
        self.tell = tell
        self.stage = "load"
        self.model: Any = None
        self.info: dict[str, Any] = {}
        self.logits: torch.Tensor | None = None
        self.held: dict[str, torch.Tensor] | None = None
        self.left_out: list[str] = []
        self.found: dict[str, Any] = {"exception": None, "precision": {}, "options": sorted(self.options)}

    def run(self, sound: dict[str, Any] | None) -> None:
        """Build, load, look at the weights, run once; whatever raises is the loader's."""
        self.tell("stage", stage="build")
        if self.until == "build":
            build(str(self.path), self.options)
            self.stage = "built"
            return
        with tracing.Progress(self.tell):
            self.model, self.info = load(str(self.path), self.options)
        self.held = values_or_none(self.model) if sound is not None else None  # the forward pass may convert
        self.look()
        if self.until == "weights":
            self.stage = "loaded"
            return
        self.tell("stage", stage="generate")
        self.stage = "forward"
        self.logits = logits(self.model)
        self.stage = "compare"

    def files(self) -> Stored | None:
        """The files that the weights came from, those of an adapter's base among them."""
        stored = opened(self.path)
        base = opened(Path(self.options["base"])) if "base" in self.options else None
        if stored is not None and base is not None:
            stored.put_on(base, "base_model.model.")
        return stored

    def look(self) -> None:
        """Take down what the loaded model holds; what is raised here is ours to answer for."""
        self.tell("stage", stage="compare")
        self.stage = "probe"
        schemes = holding.held(self.model)
        adapter = opened(self.path) if "base" in self.options else None
        stored = self.files()
        on_disk = {} if stored is None else stored.schemes()
        compared = holding.against_files(self.model, stored, schemes)
        names = {
            kind: sorted(map(str, self.info.get(f"{kind}_keys") or ())) for kind in ("missing", "unexpected")
        }
        names["mismatched"] = [
            str(item[0] if isinstance(item, tuple) else item)
            for item in self.info.get("mismatched_keys") or ()
        ]
        if adapter is not None:  # PEFT does not say what it had no place for
            names["unexpected"] = sorted(adapter.entries.keys() - compared.used)
            lost = names["unexpected"]
        else:
            lost = holding.dropped(self.model, names["unexpected"])
        self.left_out = holding.left_out(self.model, names["missing"])
        asked = "quantization" in self.options
        self.found |= {
            **names,
            "precision": by_template(schemes),
            "otherwise": [] if asked else holding.otherwise_stored(schemes, on_disk),
            "unscaled": holding.unscaled(on_disk, names["unexpected"])
            + ([] if stored is None else stored.bare_codes(schemes)),
            "dropped": lost,
            "same": len(compared.same),
            "differ_from_file": sorted(compared.differ),
            "not_compared": sorted(compared.unknown),
            "weights_bytes": memory.held(self.model),
        }


def observe(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Load one checkpoint, run it, compare it."""
    torch.manual_seed(0)
    sound = twin(request["sound"], request["options"]) if request.get("sound") else None
    done = Load(request, tell)
    log = tracing.Log(str(done.path.parent))
    with log, tracing.Unwritten() as unwritten:
        try:
            done.run(sound)
        except Exception as error:
            text = "\n".join([str(error), *log.reports()])
            found = {**done.found, "exception": raised(error, text[:TEXT_LIMIT]), "log": log.messages()}
            return {**found, "stage": done.stage, "environment": is_env(error, "transformers")}
    found = {**done.found, "stage": done.stage, "log": log.messages()}
    if done.model is not None:
        found["never_written"] = sorted({*unwritten.names(done.model), *done.left_out})
    if done.logits is not None:
        found["logits_finite"] = bool(done.logits.isfinite().all())
    if sound is not None and done.logits is not None:
        found["twin"] = beside(sound, done.held, done.logits)
    return found


def beside(
    sound: dict[str, Any], held: dict[str, torch.Tensor] | None, logits: torch.Tensor
) -> dict[str, Any]:
    """What differs from the sound twin: names of parameters, the largest difference of a value and of a logit."""
    differing, worst = holding.compare(sound["values"], held, ROUNDING) if held else ([], 0.0)
    difference = (logits - sound["logits"]).abs().max().item()
    limit = LOGIT_TOLERANCE * sound["logits"].abs().max().item()
    return {
        "differ": differing,
        "worst": worst,
        "max_abs_diff": None if difference != difference else round(difference, 6),
        "logits_differ": not difference <= limit,
    }


def values_or_none(model: Any) -> dict[str, torch.Tensor] | None:
    """The values of a model, or None when they cannot be decoded: then the forward pass is to judge."""
    try:
        return holding.values(model)
    except Exception:
        return None
