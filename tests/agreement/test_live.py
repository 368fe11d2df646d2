"""The real transformers on every fixture, sound and broken: what it does now, what was recorded, and what we say.

Needs an interpreter with that loader: ``CKPTDOCTOR_TF5=/path/to/python`` (``.ci/run`` makes one). The writers are run
again by the same interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.conftest import ROOT
from tests.observe.cases import load_cases
from tests.observe.driver import Record, observe
from tests.observe.mend import maker, meaning
from tests.observe.paths import OBSERVED, OBSERVED_FIXED
from tests.observe.record import without_readers
from tests.observe.score import target_of
from tests.support.shipped import parse_target

LIVE = {name: os.environ.get(name, "") for name in ("CKPTDOCTOR_TF5", "CKPTDOCTOR_TF4")}
UNSETTLED = {"ct-mixed-module-missing", "lists-one-dense-part-of-name"}
"""A missing weight_shape is whatever was in memory: wrong numbers one day, an error in the forward the next."""
CLOSER = {"lora-extra-pair"}
"""Recorded as `ok` beside a twin that lacks the same tensors; who looks at the file sees that they were dropped."""
pytestmark = pytest.mark.slow


def live(name: str, version: str) -> tuple[dict[str, str], list[Record]]:
    """Return what was recorded, and what the loader does now with the same cases."""
    if not LIVE[name]:
        pytest.skip(f"{name} does not name an interpreter with transformers")
    path = OBSERVED / f"transformers-{version}.jsonl"
    again = without_readers("transformers", version)
    rows = map(json.loads, path.read_text().splitlines())
    recorded = {row["case"]: row["outcome"] for row in rows if row["case"] in again}
    return recorded, observe(
        LIVE[name], "transformers", [case for case in load_cases() if case.id in recorded]
    )


@pytest.mark.parametrize(("name", "version"), [("CKPTDOCTOR_TF5", "5.23.0"), ("CKPTDOCTOR_TF4", "4.57.6")])
def test_the_real_loader_still_does_what_was_recorded(name: str, version: str) -> None:
    recorded, found = live(name, version)
    assert {record.versions["transformers"] for record in found} == {version}
    meant = {case.id: case.outcome for case in load_cases()}
    differ = {
        r.case: (recorded[r.case], r.outcome)
        for r in found
        if meant[r.case](recorded[r.case]) != meant[r.case](r.outcome)
    }
    for case in CLOSER & differ.keys():
        assert differ.pop(case) == ("ok", "corrupt")
    for case in UNSETTLED & differ.keys():
        assert set(differ.pop(case)) == {"corrupt", "fails-late"}
    assert differ == {}


def test_the_real_loader_still_reads_what_the_fixes_make() -> None:
    if not LIVE["CKPTDOCTOR_TF5"]:
        pytest.skip("CKPTDOCTOR_TF5 does not name an interpreter with transformers")
    path = OBSERVED_FIXED / "transformers-5.23.0.jsonl"
    rows = {row["case"]: row for row in map(json.loads, path.read_text().splitlines())}
    cases = [case for case in load_cases() if case.id in rows]
    make = maker({case: parse_target(target_of(row)) for case, row in rows.items()})
    found = observe(LIVE["CKPTDOCTOR_TF5"], "transformers", cases, make=make, identify=meaning)
    assert {r.case: r.outcome for r in found} == {case: row["outcome"] for case, row in rows.items()}


def test_the_writers_still_write_these_fixtures() -> None:
    """One fixture of each kind, made again by the real libraries, holds the same bytes."""
    if not LIVE["CKPTDOCTOR_TF5"]:
        pytest.skip("CKPTDOCTOR_TF5 does not name an interpreter with transformers and bitsandbytes")
    code = "import sys, pathlib, tempfile; sys.path.insert(0, sys.argv[1]); from fixtures import make\n"
    code += "print([d for n in sys.argv[2:] for d in make.differences(n, pathlib.Path(tempfile.mkdtemp()))])"
    names = ["llama-bf16", "llama-nf4-dq", "llama-int8"]
    done = subprocess.run(
        [LIVE["CKPTDOCTOR_TF5"], "-c", code, str(ROOT), *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stderr[-2000:]
