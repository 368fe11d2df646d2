"""What real writers leave behind: every recorded header is recognised precisely, and no rule is alarmed.

``CKPTDOCTOR_WRITERS`` names an interpreter with the writers (see fixtures/record_headers.py); then they run again.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.engine import check_source
from ckptdoctor.rulebook import recipe
from ckptdoctor.schemes.base import Leaf
from ckptdoctor.schemes.recognise import recognise

from .conftest import ROOT

HEADERS = ROOT / "fixtures" / "headers"


def recorded(writer: str) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = json.loads((HEADERS / f"{writer}.json").read_text())
    return found


CASES = [
    pytest.param(name, header, id=f"{path.stem}-{name}")
    for path in sorted(HEADERS.glob("*.json"))
    for name, header in recorded(path.stem).items()
]


@pytest.mark.parametrize(("name", "header"), CASES)
def test_a_sound_header_is_recognised_without_alarm(name: str, header: dict[str, list[Any]]) -> None:
    leaves = tuple(sorted(Leaf(role, dtype, tuple(shape)) for role, (dtype, shape) in header.items()))
    stored = recognise(leaves, None)
    assert stored.quantized
    assert stored.out_features == 128
    assert stored.in_features in (256, None)
    tensors = {f"model.layers.0.mlp.down_proj.{role}": entry for role, entry in header.items()}
    report = check_source(recipe.build({"tensors": tensors}), [])
    assert [f"{f.rule}: {f.message}" for f in report.findings if f.rule.startswith("quant/")] == []
    assert not report.crashes


@pytest.mark.slow
def test_the_writers_still_write_these(tmp_path: Path) -> None:
    python = os.environ.get("CKPTDOCTOR_WRITERS")
    if not python:
        pytest.skip("CKPTDOCTOR_WRITERS does not name an interpreter with compressed-tensors and mlx")
    code = "import sys, pathlib; sys.path.insert(0, sys.argv[1]); from fixtures import record_headers as r\n"
    code += "r.INTO = pathlib.Path(sys.argv[2]); r.main()"
    subprocess.run([python, "-c", code, str(ROOT), str(tmp_path)], check=True, capture_output=True)
    written = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert written
    assert written == {name: recorded(Path(name).stem) for name in written}
