"""``ckptdoctor fit`` as a user meets it: words, exit codes, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ckptdoctor
from ckptdoctor.cli.app import run

from ..observe.paths import SOUND

SCHEMA = json.loads((Path(ckptdoctor.__file__).parent / "fit.schema.json").read_text(encoding="utf-8"))
VLLM = ("--for", "vllm==0.32.0,vllm-bnb-plugin==0.0.3")


def told(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    code = run(["fit", *args])
    page = capsys.readouterr()
    return code, page.out + page.err


def as_json(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    value = json.loads(told(capsys, *args, "--format", "json")[1])
    jsonschema.validate(value, SCHEMA)
    return value


@pytest.fixture
def nf4() -> str:
    return str(SOUND / "llama-nf4")


def test_it_fits(capsys: pytest.CaptureFixture[str], nf4: str) -> None:
    code, page = told(capsys, nf4, *VLLM, "--gpu", "L40S")
    assert code == 0
    for words in (
        "299 kB",
        "16-bit would take 722 kB",
        "512 B a token",
        "fits on L40S",
        "vllm serve",
        "Devices",
    ):
        assert words in page


@pytest.mark.parametrize("name", ["llama-lora", "llama-bf16/model.safetensors"])
def test_what_is_no_model_by_itself_has_no_command_that_serves_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, page = told(capsys, str(SOUND / name), *VLLM)
    assert code == 3
    assert "not known" in page
    assert "serve" not in page


def test_the_command_says_what_is_not_the_default(capsys: pytest.CaptureFixture[str], nf4: str) -> None:
    plain = ["vllm", "serve", nf4]
    assert as_json(capsys, nf4, *VLLM)["command"] == plain
    assert as_json(capsys, nf4, *VLLM, "--context", "256")["command"] == plain  # the model's own
    assert as_json(capsys, nf4, *VLLM, "--context", "100")["command"] == [*plain, "--max-model-len", "100"]
    found = as_json(capsys, nf4, *VLLM, "--gpu", "2GB", "--batch", "30000")
    assert found["fits"] is False
    assert 0 < found["largest_context"] < 256
    assert found["command"][3:5] == ["--max-model-len", str(found["largest_context"])]


def test_it_does_not_fit(capsys: pytest.CaptureFixture[str], nf4: str) -> None:
    code, page = told(capsys, nf4, *VLLM, "--gpu", "24GB", "--batch", "1000000", "--context", "100000")
    assert code == 1
    assert "does not fit on 24 GiB" in page


def test_without_a_gpu_it_says_which_would_do(capsys: pytest.CaptureFixture[str], nf4: str) -> None:
    code, page = told(capsys, nf4, *VLLM)
    assert code == 0
    assert "Smallest GPU" in page
    assert "fits on" not in page


def test_an_unknown_gpu_is_bad_usage(capsys: pytest.CaptureFixture[str], nf4: str) -> None:
    code, page = told(capsys, nf4, *VLLM, "--gpu", "L40Z")
    assert code == 2
    assert "did you mean" in page
    assert "L40S" in page


@pytest.mark.parametrize(
    "args",
    [
        ("--kv-dtype", "int3"),
        ("--for", "vllm==*"),
        ("--for", "transformers==5.23.0", "--tp", "2"),
        ("--tp", "0"),
        ("--context", "0"),
    ],
)
def test_bad_usage(capsys: pytest.CaptureFixture[str], nf4: str, args: tuple[str, ...]) -> None:
    assert told(capsys, nf4, *args)[0] == 2


def test_devices_that_do_not_divide_the_heads(capsys: pytest.CaptureFixture[str]) -> None:
    code, page = told(capsys, str(SOUND / "mistral-bf16"), *VLLM, "--tp", "3", "--gpu", "H100")
    assert code == 1
    assert "attention heads" in page
    assert "vllm serve" not in page


def test_what_decides_is_not_known(capsys: pytest.CaptureFixture[str], nf4: str) -> None:
    code, page = told(capsys, nf4, "--for", "transformers==5.23.0", "--gpu", "24GB")
    assert code == 3
    assert "is not known" in page
    assert "299 kB" in page


def test_a_folder_of_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert told(capsys, str(tmp_path))[0] == 3


@pytest.mark.parametrize("name", ["llama-nf4", "gemma3-bf16", "gptoss-mxfp4", "qwen3moe-fp8", "llama-lora"])
def test_json_is_valid_and_says_the_same(capsys: pytest.CaptureFixture[str], name: str) -> None:
    value = as_json(capsys, str(SOUND / name), *VLLM, "--gpu", "H100", "--kv-dtype", "fp8")
    if value["total"] is not None:
        parts = (
            value["weights"]["total"],
            value["cache"]["total"],
            value["unpacked"],
            value["rough"]["activations"],
        )
        assert value["total"] == sum(parts)
        assert value["fits"] is (value["total"] <= value["gpu"]["budget"])
        assert "--kv-cache-dtype" in value["command"]


def test_every_key_is_in_the_schema(capsys: pytest.CaptureFixture[str], nf4: str) -> None:
    value = as_json(capsys, nf4, *VLLM)
    assert sorted(value) == sorted(SCHEMA["properties"]) == sorted(SCHEMA["required"])
    for key in ("weights", "cache", "rough"):
        assert sorted(value[key]) == sorted(SCHEMA["properties"][key]["properties"])


def test_a_name_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "mo\x1b[2Jdel"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Evil\\u001b[2J"], "torch_dtype": "x\\u001b"}')
    for form in ("text", "json"):
        assert "\x1b" not in told(capsys, str(folder), "--format", form)[1]
