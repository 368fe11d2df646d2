"""MXFP4 of gpt-oss in vLLM: ``load_weights`` of models/gpt_oss.py, which fills its experts by slices."""

from __future__ import annotations

from ...model import Outcome
from ..shared.method import Read
from ..shared.quantised import mxfp4
from .method import Quantised


class Mxfp4(Quantised):
    """A half that is missing leaves the slice as it was."""

    name = "mxfp4"

    def read(self) -> Read:
        """Look for halves without the other."""
        return mxfp4.read(self.run.view, "", self._half_missing, "unknown")

    def _half_missing(self, both: bool) -> Outcome:
        return "corrupt"


METHOD = Mxfp4
