"""Errors that say something about the environment and nothing about the checkpoint, with what to do about each.

Every pattern is an error that a complete checkpoint of its scheme raises too, on the same machine; nothing else may be
added. The standard library only: workers and ckptdoctor itself read this.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Limit(NamedTuple):
    """One such error."""

    pattern: str
    what: str
    advice: str


GPU = "load it on a GPU"
MEMORY = "load it where there is more memory, or on several devices"
EVERYWHERE = (
    Limit(r"CUDA out of memory|OutOfMemoryError", "the GPU's memory is full", MEMORY),
    Limit(r"DefaultCPUAllocator: can't allocate memory", "the machine's memory is full", MEMORY),
    Limit(
        r"no kernel image is available",
        "this GPU is too old or too new for this build",
        "install a build for it",
    ),
    Limit(
        r"no GPU that this torch can use",
        "torch finds no GPU",
        "--device cpu, or install a torch for this GPU",
    ),
    Limit(r"Free memory on device", "others use the GPU's memory", "end them, or choose another device"),
    Limit(r"ckptdoctor load: no network", "the loader wanted the network", "fetch what it asks for first"),
    Limit(r"No space left on device", "the disk or /dev/shm is full", "make room"),
)
VLLM = (
    Limit(
        r"'_OpNamespace' '_(moe_)?C' object has no attribute '\w+'",
        "this build of vLLM has no kernel for the format (4-bit GPTQ, AWQ, compressed-tensors on AVX2)",
        GPU,
    ),
    Limit(r"_C::\w+\(\) expected at most 0 argument\(s\)", "this build of vLLM has no FP8 kernel", GPU),
    Limit(r"fused_experts is not implemented as lack of triton", "there is no Triton for CPUs", GPU),
    Limit(
        r"Unsupported CPU attention configuration",
        "the CPU's attention has no kernel for this head size",
        GPU,
    ),
    Limit(r"Please install torchao", "torchao is missing", "pip install torchao"),
    # vLLM 0.20's table of fp8 kernels has no column for CPUs.
    Limit(r"^<PlatformEnum\.CPU: \d+>$", "vLLM has no kernel of this format for CPUs", GPU),
    Limit(r"EADDRINUSE", "two engines chose the same port", "load again"),
    Limit(r"requires AMX tile support", "block-scaled FP8 on a CPU asks for Intel AMX", GPU),
    # FP4 products are Marlin's, which is for GPUs; 8-bit GPTQ too.
    Limit(r"Forced NVFP4 kernel \w+ is not supported", "FP4 kernels are for GPUs", GPU),
    Limit(r"num_compute_units is not implemented for the current platform", "the kernel is for GPUs", GPU),
    Limit(r"'NoneType' object has no attribute 'is_monolithic'", "the kernel for experts is for GPUs", GPU),
    Limit(r"No \w+ MoE backend supports the deployment configuration", "no kernel for experts here", GPU),
    Limit(r"Unsupported FP8 MoE backend: NONE", "no FP8 kernel for experts here", GPU),
    Limit(
        r"not supported for the current GPU\. Minimum capability: \d+\. Current capability: -1\.",
        "the format needs a GPU",
        GPU,
    ),
    Limit(r"Marlin does not support weight_bits", "Marlin has no kernel for this width", GPU),
    Limit(
        r"Failed to find a kernel that can implement the \w+ linear layer",
        "this build of vLLM has no kernel for the format",
        GPU,
    ),
)
TRANSFORMERS = (
    Limit(
        r"No GPU|requires? .{0,40}(GPU|CUDA|accelerator)|CUDA|[Tt]riton|AMX", "the format needs a GPU", GPU
    ),
    Limit(
        r"(Loading|Using) an? .{0,40} requires|requires? .{0,60}(to be installed|library|pip install)"
        r"|please upgrade `\w+` package|is not installed|no package metadata was found",
        "a package that this format needs is missing or too old",
        "install what the message names",
    ),
    Limit(r"not available on this", "this machine lacks what the format needs", GPU),
)
LISTS = {
    "transformers": EVERYWHERE + TRANSFORMERS,
    "peft": EVERYWHERE + TRANSFORMERS,
    "vllm": EVERYWHERE + VLLM,
}


def limit_of(text: str, loader: str) -> Limit | None:
    """The first limit that an exception's text names; None where it names none."""
    return next((limit for limit in LISTS.get(loader, EVERYWHERE) if re.search(limit.pattern, text)), None)


def is_env(error: BaseException | str, loader: str = "vllm") -> bool:
    """Whether an exception, or its text, names a limit of this environment."""
    if loader != "vllm" and isinstance(error, ImportError):
        return True
    return limit_of(str(error), loader) is not None
