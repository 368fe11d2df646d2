"""``--for`` refuses versions that cannot be, and assumes of builds beside the known releases."""

from __future__ import annotations

import pytest

from ckptdoctor.cli import main
from ckptdoctor.releases import why_impossible
from ckptdoctor.targets import TargetError, complete
from tests.support.shipped import RULEBOOK, known_releases, newest, parse_target

from ..conftest import ROOT

SOUND = ROOT / "fixtures" / "sound" / "llama-bf16"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("vllm==9.9.9", "there is no vllm 9.9.9"),
        ("vllm==0.99.0", "the newest known releases are"),
        (
            "transformers==1.2.3",
            "opens safetensors files from 4.23.0 on; the oldest known releases are 4.44.0",
        ),
        ("transformers==4.10.0", "from 4.23.0 on"),
        ("unsloth==2031.1.1", "there is no unsloth"),
        ("unsloth==2026.10.9,unsloth_zoo==2020.1.1", "unsloth_zoo opens safetensors files from 2024.10.0 on"),
        ("peft==0.3.0", "from 0.4.0 on"),
    ],
)
def test_a_version_that_cannot_be(text: str, hint: str) -> None:
    with pytest.raises(TargetError, match=hint):
        parse_target(text)


def test_it_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SOUND), "--for", "vllm==9.9.9"]) == 2
    said = capsys.readouterr()
    assert newest("vllm") in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "version", ["0.34.0", "0.40.1", "1.0.0", "0.32.1.dev5", "0.32.0+cu129", "0.33.0rc1", "0.32.99", "0.5.0"]
)
def test_a_build_beside_the_releases_is_assumed(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SOUND), "--for", f"vllm=={version}", "--format", "json"]) in (0, 1, 3)
    assert '"evidence": "assumed"' in capsys.readouterr().out


def test_how_far_ahead_follows_from_the_pace_of_the_last_year() -> None:
    """As many minor versions on as came out in a year, in this major version and in the next."""
    major, minor = map(int, newest("transformers").split(".")[:2])
    year = {
        version.split(".")[1]
        for version, day in known_releases("transformers").items()
        if day >= "2026-01-01"
    }
    ahead = minor + len(year) - 2
    assert not why_impossible("transformers", f"{major}.{ahead}.0", RULEBOOK)
    assert why_impossible("transformers", f"{major}.{ahead + 10}.0", RULEBOOK)
    assert not why_impossible("transformers", f"{major + 1}.0.0", RULEBOOK)
    assert why_impossible("transformers", f"{major + 2}.0.0", RULEBOOK)


def test_what_is_installed_is_never_refused() -> None:
    target = complete("vllm", {"vllm": "9.9.9"}, {}, RULEBOOK, origin="installed", with_plugins=False)
    assert target.version == "9.9.9"
