"""MXFP4 of gpt-oss in transformers: quantizers/quantizer_mxfp4.py and integrations/mxfp4.py."""

from __future__ import annotations

from ...model import Outcome
from ..shared.method import Read
from ..shared.quantised import mxfp4
from .method import Quantised


class Mxfp4(Quantised):
    """``blocks`` and ``scales`` are put together while they load."""

    def read(self) -> Read:
        """Look for halves without the other."""
        return mxfp4.read(self.run.view, self.run.dtype, self._half_missing, "fails")

    def _half_missing(self, both: bool) -> Outcome:
        return "corrupt" if both and self.run.initialises_parts else "fails"


METHOD = Mxfp4
