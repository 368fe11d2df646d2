"""vLLM where nothing declares a quantisation: ``DefaultModelLoader`` of model_loader/default_loader.py."""

from __future__ import annotations

import re

from ...checkpoint.nouns import Signature
from ...expected.comparison import Missing
from ...model import Outcome
from ..shared.method import Read
from ..shared.modules import ROUTERS, family, is_plain_weight, kind
from ..shared.precision import UNDECLARED, disagreements, loaded_as
from . import companions
from .method import VllmMethod
from .tensors import siblings_present

_BNB = ("bnb-4bit", "bnb-8bit")
_POSITIONS = re.compile(r"(?:^|\.)(?:wpe|\w*position\w*|\w*token_type\w*)$")
"""Names of what is a plain ``nn.Embedding`` in ``models/gpt2.py``, ``opt.py`` and ``bert.py``."""


class Dense(VllmMethod):
    """Every weight is copied into the parameter of its name."""

    def read(self) -> Read:
        """Return what is taken for a plain weight although it is packed."""
        view = self.run.view
        loaded = loaded_as(view, self._scheme, lambda signature: False)
        return Read(loaded, [*disagreements(self.run, loaded), *companions.stray(view)])

    def _scheme(self, signature: Signature, module: str) -> str:
        """Return the scheme that a module is loaded as: ``default_weight_loader`` copies, casting as it goes."""
        stored = family(signature.stored.scheme)
        if stored in _BNB:
            return signature.stored.scheme if kind(signature, self.run.known) == "expert" else UNDECLARED
        if signature.stored.quantized:
            return UNDECLARED
        if stored in ("integers", "float8") and is_plain_weight(signature, self.run.known):
            return "bf16"
        return signature.stored.scheme

    def missing(self, row: Missing) -> Outcome:
        """``track_weights_loading`` raises, but exempts modules whose method post-processes weights (≥ 0.21).

        Those are linear layers, embeddings and the head; norms and plain ``nn.Embedding`` are always missed.
        """
        if self._plain(row):
            return "fails"
        if siblings_present(row, self.run):
            return "corrupt"
        router = row.template.removesuffix(".weight").rpartition(".")[2] in ROUTERS
        exempt = router or row.kind in ("linear", "bias", "embedding", "head", "expert")
        return "corrupt" if exempt and self.run.does("missing-linear-is-silent") else "fails"

    def _plain(self, row: Missing) -> bool:
        """Whether no method post-processes these: biases of norms, and embeddings of positions."""
        module = row.template.rpartition(".")[0]
        weight = self.run.known.kinds.get(f"{module}.weight", "")
        positions = row.kind == "embedding" and _POSITIONS.search(module) is not None
        return positions or (row.kind == "bias" and weight == "norm")

    def cache_scale(self) -> Outcome:
        """``maybe_remap_kv_scale_name`` of weight_utils.py in every model; later only a method brings the mapping."""
        if self.run.does("cache-scales-are-mapped"):
            return "ok"
        return "fails" if self.run.does("cache-scales-need-a-method") else "unknown"
