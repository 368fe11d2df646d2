"""torchao in transformers: quantizers/quantizer_torchao.py and integrations/torchao.py."""

from __future__ import annotations

from ..shared.method import Read
from ..shared.quantised import torchao
from .method import Quantised


class TorchAo(Quantised):
    """Tensors that are put together from parts by what ``__metadata__`` says (``unflatten_tensor_state_dict``)."""

    def read(self) -> Read:
        """Look for parts that are missing for putting a tensor together."""
        if not self.run.formats_were_observed:
            return Read({}, [], f"{self.method} in transformers 4 has not been observed")
        return torchao.read(self.run.ckpt, self.run.view, self.run.dtype)


METHOD = TorchAo
