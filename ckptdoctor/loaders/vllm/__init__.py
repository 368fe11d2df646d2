"""vLLM: its own files, methods and weight loaders."""

from .model import Vllm

LOADER = Vllm()
