"""torchao in vLLM: quantization/torchao.py, and ``safetensors_weights_iterator`` of model_loader/weight_utils.py."""

from __future__ import annotations

from ..shared.method import Read
from ..shared.quantised import torchao
from .method import Quantised


class TorchAo(Quantised):
    """Tensors that are put together from parts by what ``__metadata__`` says."""

    name = "torchao"

    def read(self) -> Read:
        """Look for parts that are missing for putting a tensor together."""
        return torchao.read(self.run.ckpt, self.run.view, "", "corrupt")


METHOD = TorchAo
