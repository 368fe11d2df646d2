"""Every format has its files, nobody else names one, and a checkpoint imports no format but its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ckptdoctor.formats import registry
from ckptdoctor.formats.base import Format
from tests.support.shipped import RULEBOOK

from ..conftest import ROOT

PACKAGE = ROOT / "ckptdoctor"
YAML = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "rules" / "formats").glob("*.yaml"))
}
SHARED = frozenset(("base", "declared", "layout", "parts", "registry", "skips", "tables", "__init__"))
"""What is no format in ckptdoctor/formats."""
NAMES = {
    name
    for stem, data in YAML.items()
    for name in (stem, *data.get("methods", ()), *data.get("spellings", ()))
}
EXCEPTIONS: dict[str, tuple[set[str], str]] = {
    "checkpoint/header.py": ({"mlx"}, "what __metadata__ calls the library that wrote a file"),
    "checkpoint/jsondoc.py": ({"gguf"}, "a container, told by its first bytes"),
    "checkpoint/sniff.py": ({"gguf"}, "a container, told by its first bytes"),
    "checks/shardfiles.py": ({"gguf"}, "a container, told by the names of files"),
    "loaders/vllm/block.py": (
        {"bitsandbytes", "compressed_tensors", "compressed-tensors"},
        "vLLM has a load_format of that name, and a spelling of its own",
    ),
    "memory/cache.py": ({"fp8"}, "what vLLM calls a KV cache of eight bits"),
    "probe/making.py": ({"bitsandbytes", "compressed-tensors"}, "packages of these names"),
    "render/loaded.py": ({"bitsandbytes", "compressed-tensors"}, "packages of these names"),
    "loaders/unsloth.py": ({"fp8", "fbgemm_fp8"}, "a loader in one file; it looks for that word in a path"),
}


def file_of(name: str) -> str:
    return name.replace("-", "_")


@pytest.mark.parametrize("name", YAML)
def test_it_has_a_file_unless_it_is_recognised_only(name: str) -> None:
    path = PACKAGE / "formats" / f"{file_of(name)}.py"
    assert path.is_file() is not bool(YAML[name].get("recognised_only"))


def test_no_file_is_without_its_yaml() -> None:
    files = {path.stem for path in (PACKAGE / "formats").glob("*.py")}
    assert files - SHARED == {file_of(name) for name, data in YAML.items() if not data.get("recognised_only")}


@pytest.mark.parametrize("name", YAML)
def test_the_registry_knows_it(name: str) -> None:
    found = registry.named(name, RULEBOOK)
    assert isinstance(found, Format)
    assert found.name == name
    assert all(registry.name_of(method, RULEBOOK) == name for method in YAML[name].get("methods", ()))


def test_what_is_recognised_only_states_nothing_that_needs_a_file() -> None:
    for data in YAML.values():
        if data.get("recognised_only"):
            assert not {"numbers", "words", "usual", "stores"} & data.keys()


def _texts(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are the name of a format."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES:
            yield node.value


def _elsewhere() -> Iterator[tuple[str, str]]:
    """Yield module and name, of all that are neither rooms of formats nor what a loader does with that one."""
    own = {(file_of(name), told) for name, data in YAML.items() for told in (name, *data.get("methods", ()))}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] in ("formats", "schemes") or place.parts[:2] == ("probe", "workers"):
            continue  # workers run beside a real loader, with nothing of ours, and see its own words
        in_loader = place.parts[0] == "loaders" and len(place.parts) == len(("loaders", "vllm", "gptq.py"))
        for name in _texts(path):
            labels = path.stem == "gptq" and name == "gptq_v2"
            if not (in_loader and ((path.stem, name) in own or labels)):
                yield place.as_posix(), name


def test_nobody_else_names_a_format() -> None:
    found = {(place, name) for place, name in _elsewhere()}
    assert found == {(place, name) for place, (names, _) in EXCEPTIONS.items() for name in names}


def imported(source: str) -> set[str]:
    """Return the files of formats that are imported while a checkpoint is checked."""
    code = (
        f"import sys; from ckptdoctor import check; check({source!r});"
        "print(*(name for name in sys.modules if name.startswith('ckptdoctor.formats.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.rpartition(".")[2] for name in done.stdout.split()} - SHARED


@pytest.mark.parametrize(
    ("fixture", "needed"),
    [
        ("llama-bf16", set()),
        ("llama-nf4", {"bitsandbytes"}),
        ("mistral-fp8", {"fp8"}),
        ("qwen3moe-ct-w8a8", {"compressed_tensors"}),
    ],
)
def test_only_its_own_file_is_imported(fixture: str, needed: set[str]) -> None:
    assert imported(str(ROOT / "fixtures" / "sound" / fixture)) == needed


def test_every_scheme_belongs_to_a_format() -> None:
    named = {
        scheme
        for data in YAML.values()
        for scheme in (*data.get("schemes", ()), *data.get("own_schemes", ()))
    }
    assert set(RULEBOOK.schemes) <= named
