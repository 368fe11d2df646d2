"""The JSON report: valid against the packaged schema, complete, and free of control characters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ckptdoctor
from ckptdoctor.model import OUTCOMES, SEVERITIES, Report
from ckptdoctor.render import Page, render

from ..support import sample_reports as samples

SCHEMA = json.loads((Path(ckptdoctor.__file__).parent / "report.schema.json").read_text(encoding="utf-8"))
REPORTS = {name: getattr(samples, name)() for name in ("sound", "broken", "unknown", "nothing", "hostile")}


def as_json(*reports: Report) -> Any:
    return json.loads(render("json", reports, Page()))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", REPORTS)
def test_report_is_valid(name: str) -> None:
    jsonschema.validate(as_json(REPORTS[name]), SCHEMA)


def test_several_reports_are_valid() -> None:
    value = as_json(*REPORTS.values())
    jsonschema.validate(value, SCHEMA)
    assert [report["target"] for report in value["reports"]] == [report.target for report in REPORTS.values()]


@pytest.mark.parametrize(
    "key", ["findings", "verdicts", "skips", "crashes", "bytes_read", "target", "revision"]
)
def test_the_schema_misses_a_key(key: str) -> None:
    value = as_json(REPORTS["broken"])
    del value[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, SCHEMA)


@pytest.mark.parametrize(
    ("where", "key"), [("findings", "severity"), ("verdicts", "outcome"), ("skips", "kind")]
)
def test_the_schema_refuses_other_words(where: str, key: str) -> None:
    value = as_json(REPORTS["broken"])
    value[where][0][key] = "dreadful"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, SCHEMA)


def test_words_of_schema_and_model_agree() -> None:
    assert tuple(SCHEMA["$defs"]["outcomeWord"]["enum"]) == OUTCOMES
    assert tuple(SCHEMA["$defs"]["finding"]["properties"]["severity"]["enum"]) == SEVERITIES


def test_every_key_is_documented() -> None:
    value = as_json(REPORTS["broken"])
    definitions = SCHEMA["$defs"]
    only_where_asked_for = {"ranges", "unchanged"}  # valid against the schema in test_sweeps
    assert set(value) | only_where_asked_for == set(definitions["report"]["properties"])
    for part, name in (("findings", "finding"), ("verdicts", "verdict")):
        assert set(value[part][0]) == set(definitions[name]["properties"])
    finding = value["findings"][0]
    assert set(finding["outcomes"][0]) == set(definitions["outcome"]["properties"])
    assert set(finding["locations"][0]) == set(definitions["location"]["properties"])


def test_values_survive() -> None:
    finding = as_json(REPORTS["broken"])["findings"][0]
    assert finding["facts"] == {"scheme": "bnb-nf4", "role": "absmax", "shape": [4096, 14336]}
    assert finding["count"] == 8
    assert finding["fix"] is None
    verdict = as_json(REPORTS["broken"])["verdicts"][1]
    assert verdict["with"] == {"vllm-bnb-plugin": "0.0.3"}
    assert verdict["options"] == {"tp": 2}
    assert verdict["origin"] == "assumed"


def test_no_control_character_leaves() -> None:
    text = render("json", [samples.hostile()], Page())
    assert text.isascii()
    assert all(char == "\n" or char.isprintable() for char in text)
    assert json.loads(text)["target"] == samples.hostile().target


def test_numbers_json_has_no_word_for() -> None:
    facts = {"got": float("nan"), "limits": (float("inf"), 1.5), "huge": 2**80}
    finding = samples.missing_absmax()._replace(facts=facts)
    value = as_json(samples.broken()._replace(findings=(finding,)))
    assert value["findings"][0]["facts"] == {"got": "nan", "limits": ["inf", 1.5], "huge": 2**80}
