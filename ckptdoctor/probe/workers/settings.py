"""The environment variables that a worker is started with."""

from __future__ import annotations

KEPT = ("PATH", "LANG", "LC_", "TZ", "LD_LIBRARY_PATH", "DYLD_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_")
"""What of our own environment goes on, by its beginning; no token, no proxy, no PYTHONPATH."""
PLACES = {"HOME": "home", "TMPDIR": "tmp", "HF_HOME": "hf"}
"""What names a folder of the scratch directory: caches, code that came with a checkpoint, sockets."""
EVERYWHERE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONNOUSERSITE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",  # vLLM prints sets into its messages
}
VLLM = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, so that the model can be looked at
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
}
LOADERS = {"vllm": VLLM, "vllm_memory": VLLM}
