"""The model of ``PeftModel.from_pretrained(BASE, DIRECTORY)``: an adapter, and its base where the user names it."""

from __future__ import annotations

from ...model import Location
from .. import facts
from ..adapter import judge as adapter
from ..adapter.tensors import CONFIG, WEIGHTS
from ..base import Event, Loader, Plan, Reading, Run
from ..shared.reading import of_adapter


class Peft(Loader):
    """What PEFT makes of an adapter directory."""

    def plan(self, run: Run) -> Plan:
        """``PeftConfig.from_pretrained`` and ``load_peft_weights``: an adapter's two files, and nothing else."""
        ckpt = run.ckpt
        if CONFIG in ckpt.entries:
            planned = adapter.plan(run)
            return _only_what_stays(planned) if facts.is_newer(run.data, run.target) else planned
        if ckpt.metadata_only or ckpt.label.endswith(".safetensors"):
            return Plan((), frozenset(), unknown="no adapter_config.json here")
        error = f"ValueError: Can't find '{CONFIG}' at …"
        missing = Event("no-adapter-config", "fails", {}, (Location(""),), error=error)
        return Plan((), frozenset({CONFIG, WEIGHTS}), (missing,))

    def read(self, run: Run) -> Reading:
        """``inject_adapter`` and ``set_peft_model_state_dict``: what is missing, misshapen or dropped."""
        if run.plan.method != "lora":
            return run.reading(run.plan.events)
        events, unknown = adapter.judge(run, run.version)
        return of_adapter(run, [*run.plan.events, *events], unknown)


def _only_what_stays(planned: Plan) -> Plan:
    """A newer release may know more types of adapter."""
    kept = tuple(event for event in planned.events if event.code != "adapter-type-unknown")
    why = planned.unknown or ("" if kept or planned.method else "an adapter of a kind that is not known yet")
    return planned._replace(events=kept, unknown=why)
