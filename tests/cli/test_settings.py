"""Settings files: what they change, what is refused and with which line, and which are not trusted."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor import settings
from ckptdoctor.cli import main
from ckptdoctor.settings import SettingsError

from ..conftest import ROOT

SOUND = ROOT / "fixtures" / "sound"
VLLM = "vllm==0.32.0,vllm-bnb-plugin==0.0.3"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a sound and a truncated model, which is also the working directory."""
    (tmp_path / ".git").mkdir()
    for name in ("sound", "cut", "legacy/cut"):
        shutil.copytree(SOUND / "llama-bf16", tmp_path / "models" / name)
        if name.endswith("cut"):
            weights = tmp_path / "models" / name / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-1000])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(capsys: Capture, *args: str) -> tuple[int, Any, str]:
    code = main(["check", *args, "--format", "json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_targets_and_ignore_with_a_reason(here: Path, capsys: Capture) -> None:
    (here / "ckptdoctor.toml").write_text(
        f'targets = ["{VLLM}"]\n[ignore]\n"container/truncated" = "a stub, fetched at build time"\n'
    )
    code, found, err = report(capsys, "models/cut")
    assert (code, err) == (0, "")
    assert [verdict["target"] for verdict in found["verdicts"]] == [VLLM]
    assert found["verdicts"][0]["outcome"] == "fails"  # what a loader does is not ours to accept
    assert {item["rule"]: item["reason"] for item in found["suppressed"]} == {
        "container/truncated": "a stub, fetched at build time"
    }
    assert "container/truncated" not in [finding["rule"] for finding in found["findings"]]


def test_command_line_wins(here: Path, capsys: Capture) -> None:
    (here / "ckptdoctor.toml").write_text(f'targets = ["{VLLM}"]\nselect = ["bnb/"]\nfail-on = "never"\n')
    code, found, _ = report(
        capsys, "models/cut", "--for", "transformers", "--select", "container/", "--fail-on", "error"
    )
    assert code == 1
    assert [verdict["loader"] for verdict in found["verdicts"]] == ["transformers"]
    assert {finding["rule"] for finding in found["findings"]} == {"container/truncated"}


def test_severity_and_fail_on(here: Path, capsys: Capture) -> None:
    (here / "ckptdoctor.toml").write_text('[severity]\n"container/" = "note"\n')
    assert report(capsys, "models/cut", "--select", "container/truncated")[0] == 0
    (here / "ckptdoctor.toml").write_text('fail-on = "note"\n[severity]\n"container/" = "note"\n')
    code, found, _ = report(capsys, "models/cut", "--select", "container/truncated")
    assert code == 1
    assert {finding["severity"] for finding in found["findings"]} == {"note"}


def test_sections_per_path_from_a_deeper_directory(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "pyproject.toml").write_text(
        '[tool.ckptdoctor]\ntargets = ["vllm"]\nselect = ["container/truncated"]\n'
        f'[tool.ckptdoctor.path."models/legacy/*"]\ntargets = ["{VLLM}"]\nfail-on = "never"\n'
    )
    monkeypatch.chdir(here / "models")
    code, found, _ = report(capsys, "legacy", "sound")
    assert code == 0
    assert [item["verdicts"][0]["target"] == VLLM for item in found["reports"]] == [True, False]
    assert report(capsys, "cut", "legacy")[0] == 1


def test_config_names_a_file(here: Path, capsys: Capture) -> None:
    (here / "other.toml").write_text('select = ["bnb/"]\n')
    assert report(capsys, "models/cut", "--config", "other.toml")[0] == 0
    assert main(["check", "models/cut", "--config", "absent.toml"]) == 2
    assert "absent.toml: No such file" in capsys.readouterr().err


def test_a_file_in_the_checkpoint_it_would_judge_is_not_trusted(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here / "models" / "cut")
    Path("ckptdoctor.toml").write_text('fail-on = "never"\n')
    code, _, err = report(capsys, ".")
    assert code == 1
    assert "ckptdoctor.toml lies in the checkpoint it would judge" in err
    assert report(capsys, ".", "--config", "ckptdoctor.toml")[0] == 0


def test_nothing_above_the_repository_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "ckptdoctor.toml").write_text("")
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "deep").mkdir()
    (tmp_path / "plain" / "deep").mkdir(parents=True)
    assert settings.find(tmp_path / "repo" / "deep") is None
    assert settings.find(tmp_path / "plain" / "deep") is None
    assert settings.find(tmp_path) == tmp_path / "ckptdoctor.toml"
    (tmp_path / "repo" / "pyproject.toml").write_text("[project]\n")
    assert settings.find(tmp_path / "repo" / "deep") is None


BAD = {
    "not TOML": ("select = [", 1, "not TOML"),
    "unknown key": ('\nslect = ["bnb/"]', 2, "slect: no such setting; expected one of targets, select"),
    "no reason": ('[ignore]\n"bnb/x" = ""', 2, "expected a reason"),
    "a list of ignores": ('ignore = ["bnb/"]', 1, "expected a table"),
    "severity": ('[severity]\n\n"bnb/" = "loud"', 3, "expected one of error, warning, note"),
    "fail-on": (
        'fail-on = "info"',
        1,
        "expected one of error, warning, note, unknown, never, or a list of them, got 'info'",
    ),
    "text for list": ('targets = "vllm"', 1, "expected a list of texts"),
    "in a section": ('[path."a/*"]\nbaseline = "x"', 2, "baseline: no such setting"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_blamed_on_its_line(case: str, tmp_path: Path) -> None:
    text, line, says = BAD[case]
    (tmp_path / "ckptdoctor.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings.read(tmp_path / "ckptdoctor.toml", "ckptdoctor.toml")
    assert str(caught.value).startswith(f"ckptdoctor.toml:{line}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [('select = ["bnd/"]', "Did you mean bnb/"), ('targets = ["vlm"]', "unknown package 'vlm'")],
)
def test_unknown_names_are_bad_usage(text: str, says: str, here: Path, capsys: Capture) -> None:
    (here / "ckptdoctor.toml").write_text(text)
    assert main(["check", "models/sound"]) == 2
    assert says in capsys.readouterr().err


PLUGIN = '''
from ckptdoctor.model import Hit

def no_layers(context, params):
    """Yield once: every checkpoint of this test offends."""
    yield Hit({"limit": params["limit"]})
'''


HOUSE = (
    "kind: policy\nseverity: error\nsummary: There are layers here\ncheck: acme_checks.no_layers\n"
    'with: {limit: 3}\nmessage: "more than {limit} layers"\n'
)
NAMED = ("--config", "ckptdoctor.toml")


@pytest.fixture
def house(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository with a card and a plug-in of its own; no settings file names them yet."""
    (here / "lib").mkdir()
    (here / "lib" / "acme_checks.py").write_text(PLUGIN)
    (here / "house").mkdir()
    (here / "house" / "layers.yaml").write_text(HOUSE)
    monkeypatch.syspath_prepend(here / "lib")
    monkeypatch.delitem(sys.modules, "acme_checks", raising=False)
    return here


def test_a_plugin_is_imported_only_when_named(house: Path, capsys: Capture) -> None:
    (house / "ckptdoctor.toml").write_text('rules = ["./house"]\n')
    assert main(["check", "models/sound", *NAMED]) == 2
    assert "layers.yaml:4: check: there is no check 'acme_checks.no_layers'" in capsys.readouterr().err
    assert "acme_checks" not in sys.modules
    (house / "ckptdoctor.toml").write_text('rules = ["./house"]\nplugins = ["acme_checks"]\n')
    code, found, err = report(capsys, "models/sound", *NAMED)
    assert (code, err) == (1, "")
    assert [finding["message"] for finding in found["findings"]] == ["more than 3 layers"]
    (house / "ckptdoctor.toml").write_text('plugins = ["no_such_plugin"]\n')
    assert main(["check", "models/sound", *NAMED]) == 2
    assert "plug-in no_such_plugin cannot be imported: ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "hook"])
def test_rules_and_plugins_of_a_file_nobody_named_are_told_and_left_out(
    command: str, house: Path, capsys: Capture
) -> None:
    """A clone comes with settings: they may say what counts, and never what runs."""
    text = 'rules = ["./house"]\nplugins = ["acme_checks"]\nfail-on = "never"\n[severity]\n"house/layers" = "note"\n'
    (house / "ckptdoctor.toml").write_text(text)
    assert main([command, "models/cut" if command == "check" else "models/cut/config.json"]) == 0
    said = capsys.readouterr()
    assert said.err == (
        "ckptdoctor: ckptdoctor.toml: its rules and plugins are not used; --config ckptdoctor.toml trusts the file\n"
    )
    assert "more than 3 layers" not in said.out
    assert "acme_checks" not in sys.modules


def test_what_only_a_file_nobody_named_selects_is_no_silent_ok(house: Path, capsys: Capture) -> None:
    (house / "ckptdoctor.toml").write_text('rules = ["./house"]\nselect = ["house/layers"]\n')
    assert main(["check", "models/cut"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "its rules are not used" in said.err
    assert "house/layers: no such rule" in said.err
