"""The README is true: its commands run as they stand there, and what it shows is what they print."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckptdoctor import ruledata
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory that holds what the README's commands name, as a clone would."""
    sound = [
        f"fixtures/sound/{name}"
        for name in ("llama-nf4", "llama-lora", "phi3-bf16", "mistral-bf16", "llama-bf16-sharded")
    ]
    for name in (*sound, "fixtures/hostile/truncated"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def run(command: str, where: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command, comments=True)
    if words[0] == "ckptdoctor":
        words = [sys.executable, "-m", "ckptdoctor", *words[1:]]
    env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    return subprocess.run(words, cwd=where, capture_output=True, text=True, check=False, env=env)


def block(start: str) -> list[str]:
    return next(text for text in BLOCKS if text.startswith(start)).strip().splitlines()


def test_the_seed_case_says_what_its_comments_say(clone: Path) -> None:
    said = []
    for line in block("cp -r"):
        done = run(line, clone)
        expected = re.search(r"# (fails|ok)", line)
        if expected:
            said.append((line, expected[1], done.returncode))
            assert re.search(rf"unsloth +\S+ +{expected[1]}\b", done.stdout), f"{line}\n{done.stdout}"
            assert done.returncode == (1 if expected[1] == "fails" else 0), line
    assert [word for _, word, _ in said] == ["fails", "ok", "ok", "ok"]


def test_what_was_broken_is_fixed_and_broken_again(clone: Path) -> None:
    codes = [run(line, clone).returncode for line in block("cp -r fixtures/sound/llama-bf16-sharded")]
    assert codes == [0, 0, 1, 0, 0]
    assert not (clone / "broken" / "model.safetensors.index.json").exists()


def test_adapters_get_the_verdicts_in_the_comments(clone: Path) -> None:
    lines = block("ckptdoctor check fixtures/sound/llama-lora")
    for line in lines:
        done = run(line, clone)
        word = re.search(r"# (\w+)", line)
        assert word
        assert re.search(rf"peft +\S+ +{word[1]}\b", done.stdout), f"{line}\n{done.stdout}"
        assert done.returncode == (1 if word[1] == "fails" else 0), line
    assert len(lines) == 4


def test_quantised_checkpoints_get_the_verdicts_in_the_comments() -> None:
    said = {}
    for line in block("ckptdoctor check fixtures/sound/llama-gptq"):
        done = run(line, ROOT)
        words = re.findall(r"^  \S (?:transformers|vllm) +[\d.]+\*? +(\w+)", done.stdout, re.MULTILINE)
        said[line.partition("#")[2].strip()] = words
    assert said == {
        "ok in both": ["ok", "ok"],
        "fails: groups of 32 are not split": ["fails"],
        "corrupt in transformers, ok in vLLM": ["corrupt", "ok"],
        "fails; ok with 0.17.1": ["fails"],
    }


def test_the_first_page_is_what_the_command_prints(clone: Path) -> None:
    shown = [text for text in BLOCKS if text.startswith("fixtures/sound/llama-nf4\n")]
    printed = run("ckptdoctor check fixtures/sound/llama-nf4", clone)
    assert printed.returncode == 0
    assert shown
    assert shown[0].strip() in printed.stdout


def test_the_table_of_versions_is_what_the_command_prints(clone: Path) -> None:
    (line,) = block("ckptdoctor check fixtures/sound/llama-nf4 --for 'vllm==*'")
    shown = next(text for text in BLOCKS if text.startswith("  ✗ vllm"))
    done = run(line, clone)
    assert done.returncode == 1
    assert shown in done.stdout


def test_the_upgrade_shows_what_breaks(clone: Path) -> None:
    (line,) = block("ckptdoctor check fixtures/sound/llama-nf4 --changed-only")
    done = run(line, clone)
    assert done.returncode == 1
    assert "1 error differs between versions" in done.stdout


def test_the_memory_is_what_the_command_prints(clone: Path) -> None:
    (line,) = block("ckptdoctor fit")
    shown = next(text for text in BLOCKS if text.startswith("  Weights"))
    done = run(line, clone)
    assert done.returncode == 0
    assert shown in done.stdout


def test_what_is_written_anew_is_as_the_comments_say(clone: Path) -> None:
    assert [run(line, clone).returncode for line in block("ckptdoctor resave fixtures")] == [0, 0, 3]
    assert [path.name for path in (clone / "one").glob("*.safetensors")] == ["model.safetensors"]
    assert not (clone / "bare").exists()
    lines = block("ckptdoctor diff fixtures")
    assert [run(line, clone).returncode for line in lines] == [1, 0]
    assert "exit code 1" in lines[0]
    assert "# 0:" in lines[1]


def test_the_environment_is_told(clone: Path) -> None:
    for line in block("ckptdoctor env   "):
        done = run(line, clone)
        assert done.returncode in (0, 1, 3), line
        assert "transformers" in done.stdout or done.returncode != 1


def test_the_broken_one_exits_with_1(clone: Path) -> None:
    (line,) = block("ckptdoctor check fixtures/hostile/truncated")
    done = run(line, clone)
    assert done.returncode == 1
    assert "container/truncated" in done.stdout


def test_explain_leads_to_the_naming_rule(clone: Path) -> None:
    (line,) = block('ckptdoctor explain "RuntimeError')
    done = run(line, clone)
    rules = [card.id for card in ruledata.load().cards if card.id in done.stdout]
    assert done.returncode == 0
    assert done.stdout.find("naming/suffix-needed") < min(
        done.stdout.find(rule) for rule in rules if rule != "naming/suffix-needed"
    )


def test_files_it_links_to_exist() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_pipeline_commands_run(tmp_path: Path) -> None:
    for name, fixture in (("one-bnb-4bit", "llama-nf4"), ("two", "llama-bf16")):
        shutil.copytree(ROOT / "fixtures" / "sound" / fixture, tmp_path / "models" / name)
    lines = block("ckptdoctor check models --format sarif")
    assert [(line, run(line, tmp_path).returncode) for line in lines] == [(line, 0) for line in lines]
    assert (tmp_path / "ckptdoctor.sarif").is_file()
    assert (tmp_path / "known.json").is_file()


def test_the_settings_and_the_card_are_accepted(tmp_path: Path) -> None:
    for name in ("toml", "yaml"):
        assert re.search(rf"```{name}\n", README)
    shutil.copytree(ROOT / "fixtures" / "sound" / "llama-bf16", tmp_path / "models" / "legacy" / "m")
    [card] = re.findall(r"```yaml\n(kind: .*?)```", README, flags=re.DOTALL)
    shutil.copytree(ROOT / "examples" / "policy", tmp_path / "policy")
    (tmp_path / "policy" / "shard-size.yaml").write_text(card)
    [text] = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "ckptdoctor.toml").write_text(text)
    done = run("ckptdoctor check models --config ckptdoctor.toml --format json", tmp_path)
    assert done.returncode == 1
    assert "policy/licence" in done.stdout
    assert not done.stderr
    assert '"target": "vllm==0.8.4"' in done.stdout


def test_the_preflight_runs(clone: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    shutil.copytree(clone / "fixtures/sound/llama-nf4", clone / "model")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_security_page_names_tests_that_exist_and_is_linked() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|ckptdoctor|bench)/[\w/.]+)`", page))
    assert [path for path in named if not (ROOT / path).exists()] == []
    promises = re.findall(
        r"^\| (?!who\b|the author|another|whoever|the reader|promise|-)(.+)$", page, re.MULTILINE
    )
    assert len(promises) > 5
    assert [row for row in promises if "`tests/" not in row] == []
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "(SECURITY.md)" in (ROOT / name).read_text(encoding="utf-8")
