"""Compiles ``rules/`` into ``ckptdoctor/_rulebook/`` of a wheel; an editable install finds ``../rules`` by itself."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RulebookHook(BuildHookInterface[Any]):
    """Adds the compiled rulebook to the files of a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the rules and force the results into the wheel."""
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        self._made = tempfile.TemporaryDirectory()
        files = _compiler(root).compile_rules(root / "rules")
        for name, text in files.items():
            path = Path(self._made.name, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            build_data["force_include"][str(path)] = f"ckptdoctor/_rulebook/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the compiled files once they are in the wheel."""
        if hasattr(self, "_made"):
            self._made.cleanup()


def _compiler(root: Path) -> Any:
    """Import the compiler without ``ckptdoctor/__init__.py``, whose dependencies a build environment lacks."""
    package = ModuleType("ckptdoctor")
    package.__path__ = [str(root / "ckptdoctor")]
    sys.modules["ckptdoctor"] = package
    return importlib.import_module("ckptdoctor.rulebook.compile")
