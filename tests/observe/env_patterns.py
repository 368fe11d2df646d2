"""The closed list of errors that say something about the observing machine and nothing about the checkpoint.

A record whose forward or load raises one of these has outcome "env". Every pattern is an error that a complete
checkpoint of its scheme raises too, on the same machine; nothing else may be added.
"""

from __future__ import annotations

import re

PATTERNS = (
    # vLLM's CPU wheel built for AVX2 has no kernel for 4-bit GPTQ/AWQ/compressed-tensors products.
    r"'_OpNamespace' '_(moe_)?C' object has no attribute '\w+'",
    # ... and registers the fp8 ones with no arguments.
    r"_C::\w+\(\) expected at most 0 argument\(s\)",
    # The fused experts of a bitsandbytes model are a Triton kernel, and there is no Triton for CPUs.
    r"fused_experts is not implemented as lack of triton",
    # The CPU attention kernels exist for some head sizes only.
    r"Unsupported CPU attention configuration",
    # The format's own library is not in that environment.
    r"Please install torchao",
    # vLLM 0.20's table of fp8 kernels has no column for CPUs.
    r"^<PlatformEnum\.CPU: \d+>$",
    # Two workers at once chose the same port.
    r"EADDRINUSE",
    # Block-scaled fp8 on a CPU asks for Intel AMX.
    r"requires AMX tile support",
    # FP4 products are Marlin's, which is for GPUs; 8-bit GPTQ too.
    r"Forced NVFP4 kernel \w+ is not supported",
    r"num_compute_units is not implemented for the current platform",
    r"'NoneType' object has no attribute 'is_monolithic'",
    # Nor is there one for experts in these schemes.
    r"No \w+ MoE backend supports the deployment configuration",
    r"Unsupported FP8 MoE backend: NONE",
    r"not supported for the current GPU\. Minimum capability: \d+\. Current capability: -1\.",
    r"Marlin does not support weight_bits",
    r"Failed to find a kernel that can implement the \w+ linear layer",
)
ENV = re.compile("|".join(PATTERNS))


def is_env(text: str) -> bool:
    """Whether an exception's text names a limit of this machine."""
    return ENV.search(text) is not None
