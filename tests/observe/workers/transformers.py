"""Load causal language models in transformers (and PEFT) on the CPU and say what became of them.

    python tests/observe/workers/transformers.py < cases.jsonl

A parameter that the checkpoint did not supply is made NaN, so that a random value can never pass for a
right one; every other value is compared, dequantised, with the same model loaded from the sound twin.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import serve

serve.free_sys_path()

import bitsandbytes.nn.modules  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from tests.observe.workers import holding, tracing  # noqa: E402
from tests.observe.workers.raised import raised  # noqa: E402

PACKAGES = (
    "transformers",
    "torch",
    "bitsandbytes",
    "peft",
    "accelerate",
    "safetensors",
    "compressed-tensors",
)
READERS = ("optimum", "gptqmodel")
"""What reads GPTQ and AWQ; not every environment has them."""
IDS = torch.tensor([[1, 17, 42, 99, 3, 200, 8, 64, 128, 250, 5, 31]])
TEXT_LIMIT = 2000
# A value that went through one rounding to bfloat16 differs by less than this share of the largest.
PARAMETER_TOLERANCE = 1 / 64
LOGIT_TOLERANCE = 1 / 32
ENVIRONMENT = re.compile(
    r"No GPU|requires? .{0,40}(GPU|CUDA|accelerator)|CUDA|[Tt]riton|AMX"
    r"|(Loading|Using) an? .{0,40} requires|requires? .{0,60}(to be installed|library|pip install)"
    r"|please upgrade `\w+` package|is not installed|not available on this|no package metadata was found"
)
# On a processor with AVX512-BF16 bitsandbytes repacks at the first forward pass and fails or succeeds in ways of
# its own; the generic path is what the other processors take, and closer to CUDA.
bitsandbytes.nn.modules.has_avx512bf16 = bool
twins: dict[tuple[str, str | None], dict[str, Any] | None] = {}


def load(path: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model at `path` as a user would load it, and its loading info."""
    if "base" in options:
        from peft import PeftModel

        model, _ = load(options["base"], {})
        return PeftModel.from_pretrained(model, path).eval(), {}
    keywords = {key: value for key, value in options.items() if key not in ("quantization", "class")}
    if "quantization" in options:
        keywords["quantization_config"] = transformers.BitsAndBytesConfig(**options["quantization"])
    chosen = getattr(transformers, options.get("class", "AutoModelForCausalLM"))
    model, info = chosen.from_pretrained(path, dtype="auto", output_loading_info=True, **keywords)
    return model.eval(), info


def logits(model: Any) -> torch.Tensor:
    """The logits for the fixed tokens, in float32; raises when they have no values (a model left on `meta`)."""
    with torch.no_grad():
        tokens = IDS % model.config.get_text_config().vocab_size
        inputs = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
        found = model(input_ids=tokens, **inputs)
        return (found[0] if "start_logits" in found else found.logits).float().cpu()


def twin(path: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """Values and logits of the sound checkpoint at `path`, loaded once; None when this version cannot load it."""
    key = (path, options.get("base"))
    if key not in twins:
        try:
            model, _ = load(
                path, {name: value for name, value in options.items() if name in ("base", "class")}
            )
            twins[key] = {"values": holding.values(model), "logits": logits(model)}
        except Exception:
            twins[key] = None
    return twins[key]


def observe(case: dict[str, Any]) -> dict[str, Any]:
    """Load one case, run it, compare it."""
    torch.manual_seed(0)
    sound = twin(case["sound"], case["options"]) if case["sound"] else None
    stage, log = "load", tracing.Log(str(Path(case["path"]).parent))
    result: dict[str, Any] = {"outcome": "ok", "precision": {}, "max_abs_diff": None, "exception": None}
    with log, tracing.Unwritten() as unwritten:
        try:
            model, info = load(case["path"], case["options"])
            schemes, held = holding.held(model), values_or_none(model)  # the first forward pass may convert
            result["precision"] = holding.precision(schemes)
            stage = "forward"
            found = logits(model)
        except Exception as error:
            text = "\n".join([str(error), *log.reports()])
            result["exception"] = raised(error, text[:TEXT_LIMIT])
            outcome = "fails" if stage == "load" else "fails-late"
            result["outcome"] = (
                "env" if ENVIRONMENT.search(str(error)) or isinstance(error, ImportError) else outcome
            )
            return {**result, "stage": stage, "detail": log.summary()}
    stage = "compare"
    notes = [named(kind, info.get(f"{kind}_keys")) for kind in ("missing", "unexpected", "mismatched")]
    never = unwritten.names(model)
    notes.append(named("never written", never))
    codes = holding.unscaled(Path(case["path"]), info.get("unexpected_keys"))
    notes.append(named("codes taken for weights", codes))
    if never or codes:
        result["outcome"] = "corrupt"
    if sound is not None:
        differing, worst = holding.compare(sound["values"], held, PARAMETER_TOLERANCE) if held else ([], 0.0)
        difference = (found - sound["logits"]).abs().max().item()
        result["max_abs_diff"] = None if difference != difference else round(difference, 6)
        limit = LOGIT_TOLERANCE * sound["logits"].abs().max().item()
        notes.append(named("differ", differing))
        notes.append(f"largest difference of a value {worst:.3g}" if worst else "")
        if differing or not difference <= limit:
            result["outcome"] = "corrupt"
    wrong = holding.otherwise_stored(schemes, Path(case["path"]), asked="quantization" in case["options"])
    notes.append(named("held otherwise than stored", wrong))
    if wrong and result["outcome"] == "ok":
        result["outcome"] = "wrong-precision"
    return {**result, "stage": stage, "detail": "; ".join(filter(None, [*notes, log.summary()]))[:TEXT_LIMIT]}


def values_or_none(model: Any) -> dict[str, torch.Tensor] | None:
    """The values of a model, or None when they cannot be decoded: then the forward pass is to judge."""
    try:
        return holding.values(model)
    except Exception:
        return None


def named(what: str, names: Any) -> str:
    """`what: a, b`, names that differ in a number only being counted; nothing when there are no names."""
    folded: dict[str, list[str]] = {}
    for name in sorted(map(str, names or ())):
        folded.setdefault(re.sub(r"\.\d+(?=\.)", ".*", name), []).append(name)
    shown = [
        every[0] if len(every) == 1 else f"{template} x{len(every)}" for template, every in folded.items()
    ]
    return f"{what}: {', '.join(shown)}" if shown else ""


def versions() -> dict[str, str]:
    """The exact version of every package that takes part."""
    found = {name: version(name) for name in PACKAGES}
    return found | {name: version(name) for name in READERS if find_spec(name)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve.serve(versions(), "cpu", observe)
