"""What real writers leave behind: every module is taken for what its writer was told, and no rule is alarmed.

``fixtures/headers`` has one Linear in every mode of a writer, ``fixtures/written`` whole checkpoints, both but for the
values. ``CKPTDOCTOR_WRITERS`` and ``CKPTDOCTOR_WRITERS_B`` name interpreters with the writers; then they write again.
"""

from __future__ import annotations

import json
import os
import subprocess
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.checkpoint.modules import build_view
from ckptdoctor.model import Finding
from ckptdoctor.rulebook import recipe
from ckptdoctor.rulebook.tensors import described
from ckptdoctor.schemes.base import Leaf, Stored
from ckptdoctor.schemes.recognise import recognise
from ckptdoctor.sources import open_source
from tests.support.shipped import RULEBOOK, check_source, load, parse_target

from ..conftest import ROOT
from ..observe.written import INTO, SAME, Loader, row
from ..support.written import OPEN, SCHEMES, UNTOLD, WRITTEN, Written, written

HEADERS = ROOT / "fixtures" / "headers"
ROWS, COLUMNS = 128, 256
LOADERS = ("transformers==5.23.0", "vllm==0.32.0")
TARGETS = [parse_target(text) for text in (*LOADERS, "unsloth==2026.10.9")]
OBSERVED_WRITTEN = sorted(INTO.glob("*.jsonl"))
WRITERS = {
    "CKPTDOCTOR_WRITERS": ("auto_round", "autoawq", "compressed_tensors", "faithful", "gptqmodel", "torchao"),
    "CKPTDOCTOR_WRITERS_B": ("llmcompressor", "modelopt"),
}
READ_LIVE = ("compressed_tensors", "faithful", "torchao")
NEEDS_GPTQMODEL = ("faithful/awq", "faithful/gptq")
"""transformers reads them with gptqmodel, which compiles an extension for minutes first."""
CHECKPOINTS = written()
IDS = [each.id for each in CHECKPOINTS]


def headers(writer: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((HEADERS / f"{writer}.json").read_text())
    return found


LINEARS = [
    pytest.param(f"{path.stem}/{name}", record, id=f"{path.stem}-{name}")
    for path in sorted(HEADERS.glob("*.json"))
    for name, record in headers(path.stem).items()
]


def wrong(stored: Stored | None, told: dict[str, Any], shape: list[int]) -> dict[str, tuple[Any, Any]]:
    """Return what is not as the writer was told: (told, seen). A field that tensors cannot tell may be None."""
    assert stored is not None
    rows, columns = shape or (stored.out_features, stored.in_features)
    group = columns if told["group"] is None and stored.group == columns else told["group"]
    pairs = {
        "scheme": (SCHEMES[told["format"]], stored.scheme),
        "bits": (told["bits"], stored.bits),
        "group": (group, stored.group),
        "in": (columns, stored.in_features),
        "out": (rows, stored.out_features),
    }
    untold = UNTOLD.get(told["format"], ())
    return {
        field: (said, seen)
        for field, (said, seen) in pairs.items()
        if said != seen and not (seen is None and field in untold)
    }


def seen(checkpoint: Written) -> dict[str, Stored]:
    ckpt = load(checkpoint.source())
    view = build_view(ckpt, tuple(ckpt.shards))
    return {name: signature.stored for signature in view.signatures for name in signature.modules}


@pytest.mark.parametrize(("name", "record"), LINEARS)
def test_a_linear_is_what_its_writer_was_told(
    name: str, record: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    excused(request, name, "stored")
    tensors = record["tensors"]
    leaves = tuple(sorted(Leaf(role, dtype, tuple(shape)) for role, (dtype, shape) in tensors.items()))
    stored = recognise(leaves, None, RULEBOOK)
    assert stored.quantized
    assert wrong(stored, record["told"], [ROWS, COLUMNS]) == {}
    named = {f"model.layers.0.mlp.down_proj.{role}": entry for role, entry in tensors.items()}
    report = check_source(recipe.build({"tensors": named}), [])
    assert [f"{f.rule}: {f.message}" for f in report.findings if f.rule.startswith("quant/")] == []
    assert not report.crashes


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=IDS)
def test_every_module_is_what_its_writer_was_told(
    checkpoint: Written, request: pytest.FixtureRequest
) -> None:
    excused(request, checkpoint.id, "stored")
    stored = seen(checkpoint)
    modules = list(checkpoint.told())
    assert modules
    assert {name: wrong(stored.get(name), told, shape) for name, told, shape in modules} == {
        name: {} for name, _, _ in modules
    }
    quantised = {name for name, each in stored.items() if each.quantized}
    assert quantised == {name for name, _, _ in modules}


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=IDS)
def test_no_alarm_that_no_loader_confirms(checkpoint: Written, request: pytest.FixtureRequest) -> None:
    excused(request, checkpoint.id, "alarm")
    report = check_source(checkpoint.source(), TARGETS)
    assert not report.crashes
    assert [f"{f.rule}: {f.message}" for f in report.findings if not confirmed(f, checkpoint.id)] == []


SYMMETRIC = [
    each
    for each in CHECKPOINTS
    if each.record["told"][0]["format"] == "gptq"
    and each.record["files"]["config.json"]["quantization_config"]["sym"]
]


@pytest.mark.parametrize("checkpoint", SYMMETRIC, ids=[each.id for each in SYMMETRIC])
def test_gptq_stores_zero_points_less_one_but_in_version_2(checkpoint: Written) -> None:
    """``convert_gptq_v2_to_v1_format`` in https://github.com/ModelCloud/GPTQModel/blob/v7.7.0/gptqmodel/utils/model.py."""
    [told] = checkpoint.record["told"]
    declared = checkpoint.record["files"]["config.json"]["quantization_config"]
    stored = 2 ** (told["bits"] - 1) - (declared.get("checkpoint_format", "gptq") == "gptq")
    for name, entry in checkpoint.record["tensors"].items():
        if name.endswith(".qzeros"):
            groups, words = entry["shape"]
            data = (
                bytes.fromhex(entry["hex"])
                if "hex" in entry
                else entry["fill"].to_bytes(4, "little", signed=True) * groups * words
            )
            for group in range(groups):
                row = int.from_bytes(data[group * words * 4 : (group + 1) * words * 4], "little")
                fields = words * 32 // told["bits"]
                found = {row >> field * told["bits"] & 2 ** told["bits"] - 1 for field in range(fields)}
                assert found == {stored}, name


@pytest.mark.parametrize("checkpoint", SYMMETRIC, ids=[each.id for each in SYMMETRIC])
def test_the_label_of_the_other_version_is_found(checkpoint: Written) -> None:
    swapped = deepcopy(checkpoint)
    declared = swapped.record["files"]["config.json"]["quantization_config"]
    other = {"gptq": "gptq_v2", "gptq_v2": "gptq"}[declared.get("checkpoint_format", "gptq")]
    declared.update(
        dict.fromkeys({"checkpoint_format", "format"} & declared.keys() or {"checkpoint_format"}, other)
    )
    rules = {finding.rule for finding in check_source(swapped.source(), TARGETS).findings}
    assert "quant/gptq-zeros-label" in rules


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=IDS)
def test_the_verdict_is_what_the_loader_did(
    checkpoint: Written, loader: str, request: pytest.FixtureRequest
) -> None:
    excused(request, checkpoint.id, loader.partition("=")[0])
    observed = observations(loader)[checkpoint.id]["outcome"]
    if observed == "env":
        pytest.skip("this loader does not run it on a CPU")
    [verdict] = check_source(checkpoint.source(), [parse_target(loader)]).verdicts
    assert verdict.outcome in (observed, "unknown")


@cache
def observations(loader: str) -> dict[str, Any]:
    path = ROOT / "fixtures" / "observed" / "written" / f"{loader.replace('==', '-')}.jsonl"
    return {row["case"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def confirmed(finding: Finding, name: str) -> bool:
    """Whether a loader of which the finding says that it fails was seen failing; a hint needs nobody."""
    if finding.severity not in ("error", "warning"):
        return True
    failing = {o.target.label for o in finding.outcomes if o.outcome not in ("ok", "unknown")}
    return any(observations(loader)[name]["outcome"] not in ("ok", "env") for loader in failing & {*LOADERS})


def excused(request: pytest.FixtureRequest, name: str, view: str) -> None:
    """Expect a failure that is listed as open."""
    reason = OPEN.get((name, view))
    if reason:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.mark.parametrize("loader", [path.stem for path in OBSERVED_WRITTEN])
def test_the_loader_reads_the_values(loader: str) -> None:
    """Logits as those of a dense twin that was decoded apart, and not as those of one that was decoded wrongly."""
    name, _, version = loader.partition("-")
    rows = [row for row in observations(f"{name}=={version}").values() if row["outcome"] == "ok"]
    twins = {row["case"]: (row["twin"], row["wrong"]) for row in rows if row["twin"] is not None}
    assert len(twins) >= 3
    assert {case: pair for case, pair in twins.items() if not pair[0] <= min(SAME, pair[1] / 4)} == {}
    dense = {row["case"]: row["dense"] for row in rows if row["dense"] is not None}
    assert {case: far for case, far in dense.items() if not far <= from_dense(case)} == {}


def from_dense(name: str) -> float:
    """How far quantising may change a logit, of some 4, where zero points or scales one off change it by 1 and more."""
    [bits] = {min(told["bits"] for told in each.record["told"]) for each in CHECKPOINTS if each.id == name}
    return {8: 1 / 4, 4: 3 / 4}.get(bits, 2.0)


def interpreter(name: str = "CKPTDOCTOR_WRITERS") -> str:
    if not os.environ.get(name):
        pytest.skip(f"{name} does not name an interpreter with the writers")
    return os.environ[name]


@pytest.mark.slow
def test_the_writers_still_write_these_headers(tmp_path: Path) -> None:
    code = "import sys, pathlib; sys.path.insert(0, sys.argv[1]); from fixtures import record_headers as r\n"
    code += "r.INTO = pathlib.Path(sys.argv[2]); r.main()"
    subprocess.run([interpreter(), "-c", code, str(ROOT), str(tmp_path)], check=True, capture_output=True)
    again = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert again == {path.stem: headers(path.stem) for path in HEADERS.glob("*.json")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CKPTDOCTOR_WRITERS", "CKPTDOCTOR_WRITERS_B"])
def test_the_writers_still_write_these_checkpoints(name: str, tmp_path: Path) -> None:
    """Each writes its cases again: the same names, dtypes, shapes, metadata and configs, and no alarm on real files."""
    writers = WRITERS[name]
    arguments = ["-m", "fixtures.write", *writers, "--into", str(tmp_path), "--record", str(tmp_path)]
    done = subprocess.run(
        [interpreter(name), *arguments], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for writer in writers:
        again, kept = (json.loads((where / f"{writer}.json").read_text()) for where in (tmp_path, WRITTEN))
        assert again["versions"] == kept["versions"]
        assert shapes(again) == shapes(kept)
    for checkpoint in CHECKPOINTS:
        if checkpoint.id.split("/")[0] in writers and (checkpoint.id, "alarm") not in OPEN:
            report = check_source(open_source(str(tmp_path / checkpoint.id)), TARGETS)
            assert [f.message for f in report.findings if not confirmed(f, checkpoint.id)] == [], (
                checkpoint.id
            )


def shapes(record: dict[str, Any]) -> dict[str, Any]:
    """Return the cases of one writer without the bytes of tensors, which calibration makes depend on the processor."""
    return {
        name: {**case, "tensors": {key: described(entry)[:2] for key, entry in case["tensors"].items()}}
        for name, case in record["cases"].items()
    }


@pytest.mark.slow
def test_transformers_still_reads_what_is_written(tmp_path: Path) -> None:
    """The real loader on what the real writers write now: torchao, compressed-tensors, FP8 in blocks and MXFP4."""
    python = interpreter()
    arguments = ["-m", "fixtures.write", *READ_LIVE, "--into", str(tmp_path), "--twins"]
    subprocess.run([python, *arguments], check=True, capture_output=True, cwd=ROOT)
    loader = Loader(python, "transformers")
    recorded = observations(LOADERS[0])
    rows = [
        row(loader, tmp_path, name)
        for name in IDS
        if name.split("/")[0] in READ_LIVE and name not in NEEDS_GPTQMODEL
    ]
    loader.close()
    assert len(rows) >= 30
    assert {found["case"]: found["outcome"] for found in rows} == {
        found["case"]: recorded[found["case"]]["outcome"] for found in rows
    }
    assert [found for found in rows if not (found["twin"] or 0) <= SAME] == []
    assert [found for found in rows if not (found["dense"] or 0) <= from_dense(found["case"])] == []
