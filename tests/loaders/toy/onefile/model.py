"""The model of ``onefile.load(DIRECTORY)``."""

from __future__ import annotations

from ...expected.comparison import Mismatch, Missing
from ...model import Outcome
from ..base import Loader, Plan, Reading, Run, Signature
from ..shared.method import Method, Read
from ..shared.modules import architecture
from ..shared.precision import UNDECLARED, disagreements, loaded_as
from ..shared.reading import by_method

_FILE = "model.safetensors"


class OneFile(Loader):
    """What onefile makes of a checkpoint."""

    def plan(self, run: Run) -> Plan:
        """``load.find_weights``: one file of one name."""
        opened = frozenset({"config.json", _FILE})
        if _FILE in run.ckpt.shards:
            return Plan((_FILE,), opened)
        return Plan((), opened, unknown=f"onefile opens {_FILE} only")

    def read(self, run: Run) -> Reading:
        """``load.fill``: every parameter by its name."""
        if not run.plan.files:
            return run.reading(run.plan.events)
        return by_method(run, architecture(run.ckpt, run.view), Plain(run))


class Plain(Method):
    """The only way it has: whatever is stored is taken for numbers."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def read(self) -> Read:
        """``load.copy``: bytes go into the parameter as they are."""
        loaded = loaded_as(self.run.view, self._scheme, lambda signature: False)
        return Read(loaded, list(disagreements(self.run, loaded)))

    def _scheme(self, signature: Signature, module: str) -> str:
        return UNDECLARED if signature.stored.quantized else signature.stored.scheme

    def missing(self, row: Missing) -> Outcome:
        """``load.check`` came with 2.0; before, memory stayed as it was."""
        return "fails" if self.run.does("missing-raises") else "corrupt"

    def unexpected(self, template: str) -> Outcome:
        """Never looked at."""
        return "ok"

    def mismatched(self, row: Mismatch) -> Outcome:
        """``copy_`` of another shape."""
        return "fails"
