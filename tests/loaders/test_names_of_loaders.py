"""Nothing outside a loader's own room asks for it by name: who needs to know asks the loader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ckptdoctor import ruledata

from ..conftest import ROOT

PACKAGE = ROOT / "ckptdoctor"
ALLOWED = {
    "loaders/unsloth.py": {"vllm", "transformers"},  # it calls them
    "loaders/adapter": {"peft"},  # what PEFT does to an adapter, whoever calls it
    "loaders/vllm/model.py": {"transformers"},  # vLLM reads config.json through AutoConfig
    "probe": {"vllm", "transformers", "peft"},  # the real ones, each with a worker of its own
    "cli/loading.py": {"vllm", "transformers", "peft"},  # which of those is meant where none is named
    "cli/env.py": {"vllm"},  # the one that --make makes an environment for where none is named
    "render/loaded.py": {"transformers", "peft"},  # packages of these names
    "skiplists": {"transformers"},  # the name of a dialect
}


def _names(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are the name of a loader."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in ruledata.load().loaders:
            yield node.value


def _allowed(path: str) -> set[str]:
    own = {
        name
        for name in ruledata.load().loaders
        if path.startswith((f"loaders/{name}/", f"loaders/{name}.py"))
    }
    return own.union(*(names for place, names in ALLOWED.items() if path.startswith(place)))


def test_only_a_loaders_room_has_its_name() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        found += [f"{place}: {name}" for name in _names(path) if name not in _allowed(place)]
    assert not found


def test_the_exceptions_are_used() -> None:
    used = {
        (place, name)
        for place, names in ALLOWED.items()
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix().startswith(place)
        for name in names.intersection(_names(path))
    }
    assert used == {(place, name) for place, names in ALLOWED.items() for name in names}
