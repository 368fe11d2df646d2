"""The model of ``PeftModel.from_pretrained(BASE, DIRECTORY)``: an adapter, and its base where the user names it."""

from __future__ import annotations

from collections.abc import Mapping

from ...checkpoint.nouns import Checkpoint, View
from ...model import Location, Target
from ..adapter import judge as adapter
from ..adapter.tensors import CONFIG, WEIGHTS
from ..base import Event, Plan, Reading
from ..shared import facts

Data = Mapping[str, object]


class Peft:
    """What PEFT makes of an adapter directory."""

    name = "peft"

    def plan(self, ckpt: Checkpoint, target: Target, data: Data) -> Plan:
        """An adapter's two files, and nothing else."""
        if CONFIG in ckpt.entries:
            planned = adapter.plan(ckpt)
            return planned if facts.evidence(data, target) != "assumed" else _only_what_stays(planned)
        if ckpt.metadata_only or ckpt.label.endswith(".safetensors"):
            return Plan((), frozenset(), unknown="no adapter_config.json here")
        error = f"ValueError: Can't find '{CONFIG}' at …"
        missing = Event("no-adapter-config", "fails", {}, (Location(""),), error=error)
        return Plan((), frozenset({CONFIG, WEIGHTS}), (missing,))

    def read(self, ckpt: Checkpoint, view: View, plan: Plan, target: Target, data: Data) -> Reading:
        """Say what is missing, misshapen or dropped."""
        events = list(plan.events)
        if plan.method == "lora":
            told, unknown = adapter.judge(ckpt, target.version)
            events += told
            plan = plan._replace(unknown=unknown)
        return Reading(target, plan, {}, tuple(events), facts.evidence(data, target))


def _only_what_stays(planned: Plan) -> Plan:
    """A newer release may know more types of adapter."""
    kept = tuple(event for event in planned.events if event.code != "adapter-type-unknown")
    why = planned.unknown or ("" if kept or planned.method else "an adapter of a kind that is not known yet")
    return planned._replace(events=kept, unknown=why)
