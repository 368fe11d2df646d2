"""One input, of which the first byte chooses what the rest is given to: what coverage-guided fuzzing runs."""

from __future__ import annotations

from ckptdoctor import ruledata
from ckptdoctor.checkpoint import jsondoc
from ckptdoctor.engine import check_source
from ckptdoctor.sources.memory import MemorySource
from ckptdoctor.targets import default_targets

from . import headers

RULEBOOK = ruledata.load()
TARGETS = default_targets(RULEBOOK)
INDEX = "model.safetensors.index.json"


def one(data: bytes) -> None:
    """Try one input; raise where something is wrong."""
    kind, rest = data[:1], data[1:]
    if kind < b"\x80":
        why = headers.complaint(len(rest).to_bytes(8, "little") + rest, thorough=True)
        if why:
            raise AssertionError(why)
    elif kind < b"\xc0":
        doc = jsondoc.parse(rest, "config.json")
        if doc.value is None and not doc.defects:
            raise AssertionError("neither read nor refused")
    else:
        shard = len(rest).to_bytes(8, "little") + rest
        report = check_source(
            MemorySource("m", {"model.safetensors": shard, "config.json": rest, INDEX: rest}),
            TARGETS,
            RULEBOOK,
        )
        if report.crashes:
            raise AssertionError(report.crashes[0].error)
