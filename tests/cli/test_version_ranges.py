"""Ranges of versions: ``--for 'vllm==*'`` judges every known release, folds them, and tells versions apart."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest

import ckptdoctor
from ckptdoctor import ruledata
from ckptdoctor.cli import main
from ckptdoctor.folding import changed, ranges, spans
from ckptdoctor.model import Report
from ckptdoctor.render import FORMATS, Page, render
from ckptdoctor.sources import open_source
from ckptdoctor.targets import TargetError
from tests.support.shipped import check_source, expand, known_releases, parse_target

from ..conftest import ROOT

NF4 = ROOT / "fixtures" / "sound" / "llama-nf4"
BF16 = ROOT / "fixtures" / "sound" / "llama-bf16"
TRUNCATED = ROOT / "fixtures" / "hostile" / "truncated"
SCHEMA = json.loads((Path(ckptdoctor.__file__).parent / "report.schema.json").read_text(encoding="utf-8"))
Capture = pytest.CaptureFixture[str]


def judged(path: Path, *texts: str) -> Report:
    return ckptdoctor.check(path, targets=texts)


def versions(text: str) -> list[str]:
    return [target.version for target in expand(text)]


@pytest.mark.parametrize("loader", ["vllm", "transformers", "unsloth"])
def test_a_star_is_every_known_release_in_order(loader: str) -> None:
    assert versions(f"{loader}==*") == sorted(known_releases(loader), key=ruledata.parse_version)


def test_ranges_choose_releases() -> None:
    assert versions("vllm>=0.27,<0.30") == ["0.27.0", "0.27.1", "0.28.0", "0.29.0"]
    assert versions("vllm >= 0.27, vllm < 0.28") == ["0.27.0", "0.27.1"]
    assert versions("vllm==0.8.5*") == ["0.8.5", "0.8.5.post1"]
    assert versions("vllm==0.1*")[0] == "0.10.0"
    assert versions("vllm>0.27.1,!=0.29.0,<=0.30") == ["0.28.0", "0.30.0"]
    assert versions("vllm<0.6.5,!=0.6.4.*") == ["0.6.4"]


def test_each_release_gets_the_plug_in_that_fits() -> None:
    plugins = [target.versions.get("vllm-bnb-plugin") for target in expand("vllm>=0.27.1,<=0.29")]
    assert plugins == [None, "0.0.2", "0.0.3"]
    named = expand("vllm>=0.28,vllm-bnb-plugin==0.0.1")
    assert {target.versions["vllm-bnb-plugin"] for target in named} == {"0.0.1"}


def test_options_hold_for_every_release() -> None:
    assert {target.options["load_in_4bit"] for target in expand("unsloth==2025.3*,load_in_4bit=false")} == {
        False
    }


def test_without_a_range_nothing_changes() -> None:
    for text in ("vllm", "vllm==0.32.0", "unsloth==2025.3.10,unsloth_zoo==2025.3.9", "vllm,tp=2"):
        assert expand(text) == (parse_target(text),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vllm>=0.40", "no known release of vllm is in that range; known are 0.6.4 to "),
        ("vllm>=new", "expected a version such as 0.32.0, got 'new'"),
        ("vllm>=0.2*", "expected a version after >=, got '0.2*'"),
        ("keras==*", "unknown package"),
        ("==*", "expected PACKAGE"),
        ("vllm-bnb-plugin==*", "is not a loader"),
        ("vllm==0.32.0,vllm-bnb-plugin==*", "got '*'"),
        ("vllm==0.32.0,vllm-bnb-plugin>=0.0.2", "expected PACKAGE, PACKAGE==VERSION"),
        ("", "expected a loader first"),
    ],
)
def test_what_is_no_range(text: str, says: str) -> None:
    with pytest.raises(TargetError, match=r".") as caught:
        expand(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("path", [NF4, BF16, TRUNCATED], ids=lambda path: path.name)
def test_a_release_in_a_range_is_judged_as_when_it_is_named(path: Path) -> None:
    """The folded verdicts are the single ones: label, outcome, precision and causes."""
    swept = judged(path, "vllm==*", "unsloth>=2026.8").verdicts
    for verdict in swept[::4]:
        (alone,) = judged(path, verdict.target.label).verdicts
        assert alone == verdict._replace(target=verdict.target._replace(sweep=""))


def test_ranges_hold_every_release_once_and_differ_from_their_neighbours() -> None:
    report = judged(NF4, "vllm==*", "unsloth==*", "transformers")
    found = ranges(report.verdicts)
    held = [verdict.target.label for item in found for verdict in item.verdicts]
    assert held == [verdict.target.label for verdict in report.verdicts if verdict.target.sweep]
    told = [(i.verdict.target.sweep, i.verdict.outcome, i.verdict.precision, i.verdict.uses) for i in found]
    assert all(a != b for a, b in pairwise(told))
    assert [(i.verdicts[0].target.version, i.verdict.outcome, dict(i.uses)) for i in found[:3]] == [
        ("0.6.4", "fails", {}),
        ("0.8.4", "ok", {}),
        ("0.28.0", "ok", {"vllm-bnb-plugin": ("0.0.2", "0.0.3")}),
    ]


def test_a_plug_in_that_has_no_say_splits_nothing() -> None:
    (item,) = ranges(judged(BF16, "vllm==*").verdicts)
    assert item.verdict.outcome == "ok"
    assert dict(item.uses) == {}


def test_a_name_that_switches_4bit_off_leaves_16bit_weights() -> None:
    found = {i.verdicts[0].target.version: i.verdict for i in ranges(judged(BF16, "unsloth==*").verdicts)}
    assert (found["2025.10.7"].because, found["2025.10.7"].precision) == (("naming/bf16-suffix",), "bf16")


def test_spans_break_at_a_gap() -> None:
    targets = expand("vllm>=0.27,<0.31")
    assert spans([targets[0], targets[1], targets[3]], targets) == ["vllm 0.27.0 – 0.27.1", "vllm 0.29.0"]
    alone = [parse_target("vllm==0.32.0"), parse_target("transformers")]
    assert spans(alone, alone, lambda t: t.label)[0] == "vllm==0.32.0"


def test_sixty_releases_cost_next_to_nothing() -> None:
    source, sweep = open_source(str(NF4)), expand("vllm==*")
    check_source(source, sweep)
    begun = time.process_time()
    check_source(source, sweep)
    assert len(sweep) > 55
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_lists_release_after_release(form: str) -> None:
    text = render(form, [judged(NF4, "vllm==*", "unsloth==*")], Page())
    if form == "json":
        value = json.loads(text)
        jsonschema.validate(value, SCHEMA)
        assert set(value["ranges"][0]) == set(SCHEMA["$defs"]["range"]["properties"])
        assert len(value["verdicts"]) == sum(item["releases"] for item in value["ranges"]) > 250
    elif form != "sarif":
        assert "0.6.4 – 0.8.3" in text
        assert "0.7.2" not in text


def test_the_table_answers_which_versions_load_it(capsys: Capture) -> None:
    assert main(["check", str(NF4), "--for", "vllm==*", "--for", "unsloth==*"]) == 1
    out = capsys.readouterr().out
    assert "✗ vllm     0.6.4 – 0.8.3          fails" in out
    assert "✓ vllm     0.28.0 – 0.33.0        ok     bnb-nf4\n      with vllm-bnb-plugin 0.0.2 – 0.0.3" in out
    assert "each unsloth with the unsloth_zoo and vllm that went with it" in out
    assert "fails in unsloth 2025.1.1 – 2025.3.10" in out


def test_many_checkpoints_say_in_which_releases_they_are_ok(capsys: Capture) -> None:
    assert main(["check", str(NF4), str(BF16), "--for", "vllm==*"]) == 1
    rows = capsys.readouterr().out.splitlines()
    assert any("llama-nf4" in row and "ok in 0.8.4 – 0.33.0" in row for row in rows)


UPGRADE = ("vllm==0.27.1", "vllm==0.28.0")


def test_changed_only_keeps_what_an_upgrade_breaks() -> None:
    report = changed(judged(NF4, *UPGRADE, "transformers"))
    assert [verdict.outcome for verdict in report.verdicts] == ["ok", "fails"]
    assert [finding.rule for finding in report.findings] == ["quant/package-missing"]
    assert report.unchanged is not None
    assert [verdict.target.loader for verdict in report.unchanged.verdicts] == ["transformers"]


def test_changed_only_leaves_out_what_stays_broken() -> None:
    report = changed(judged(TRUNCATED, *UPGRADE))
    assert (report.verdicts, report.findings) == ((), ())
    assert report.unchanged is not None
    assert report.unchanged.findings == 1


def test_changed_only_on_the_command_line(capsys: Capture) -> None:
    names = [arg for text in UPGRADE for arg in ("--for", text)]
    assert main(["check", str(NF4), *names, "--changed-only"]) == 1
    out = capsys.readouterr().out
    assert "1 error differs between versions" in out
    assert "fails in vllm 0.28.0 · nothing in vllm 0.27.1" in out
    assert main(["check", str(BF16), *names, "--changed-only"]) == 0
    out = capsys.readouterr().out
    assert "= vllm 0.27.1, 0.28.0: ok bf16" in out
    assert "No finding differs" in out
    assert main(["check", str(TRUNCATED), *names, "--changed-only"]) == 1, (
        "the exit code is that of the whole report"
    )
    assert "No finding differs between versions, 1 the same" in capsys.readouterr().out


def test_changed_only_in_json(capsys: Capture) -> None:
    names = [arg for text in UPGRADE for arg in ("--for", text)]
    main(["check", str(TRUNCATED), *names, "--changed-only", "--format", "json"])
    value = json.loads(capsys.readouterr().out)
    jsonschema.validate(value, SCHEMA)
    assert value["findings"] == value["verdicts"] == []
    assert value["unchanged"]["findings"] == 1
    assert len(value["unchanged"]["verdicts"]) == 2


def test_changed_only_needs_two_versions(capsys: Capture) -> None:
    assert main(["check", str(NF4), "--for", "vllm", "--for", "transformers", "--changed-only"]) == 2
    assert "Name two" in capsys.readouterr().err
