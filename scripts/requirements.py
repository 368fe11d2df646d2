"""Write rules/requirements.yaml: what released packages ask of each other, from the metadata on the package index.

    python scripts/requirements.py                 # asks pip for the metadata of some 150 releases, a second each
    python scripts/requirements.py --keep DIR      # keeps DIR/PACKAGE-VERSION.json, and asks only for what is not there

Only names of `PACKAGES` count, extras and other platforms left out. A row holds from the first to the last of
neighbouring versions read that ask for the same; between two that differ nothing is said.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ckptdoctor.rulebook.versions import compile_spec  # noqa: E402
from ckptdoctor.ruledata import matches, parse_version  # noqa: E402

FILE = ROOT / "rules" / "requirements.yaml"
PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "extra": ""}
PACKAGES = (
    "torch", "transformers", "tokenizers", "huggingface-hub", "safetensors", "accelerate", "bitsandbytes", "peft",
    "trl", "vllm", "vllm-bnb-plugin", "unsloth", "unsloth-zoo",
)  # fmt: skip
READ = Path(__file__).with_suffix("").with_name("requirements_read.yaml")
"""Package → versions read, oldest first."""


def metadata_of(package: str, version: str, keep: Path) -> list[str]:
    """Return Requires-Dist of one release, as pip reports it without downloading more than the metadata."""
    kept = keep / f"{package}-{version}.json"
    if not kept.is_file():
        options = ("--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--only-binary", ":all:")
        command = [sys.executable, "-m", "pip", "install", *options, "--report", "-", f"{package}=={version}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)["install"][0]["metadata"].get("requires_dist", [])
        kept.write_text(json.dumps(found), encoding="utf-8")
    asked: list[str] = json.loads(kept.read_text(encoding="utf-8"))
    return asked


def asks(requires: Sequence[str]) -> dict[str, str]:
    """Return package → specifier for the packages that count; several lines about one are joined."""
    found: dict[str, str] = {}
    for requirement in map(Requirement, requires):
        name = canonicalize_name(requirement.name)
        if name not in PACKAGES or (requirement.marker and not requirement.marker.evaluate(PLATFORM)):
            continue
        spelled = "unsloth_zoo" if name == "unsloth-zoo" else name
        specs = {*filter(None, found.get(spelled, "").split(",")), *map(str, requirement.specifier)}
        found[spelled] = ",".join(sorted(specs, key=_order))
    return found


def _order(spec: str) -> tuple[bool, bool, tuple[int, ...]]:
    number = spec.lstrip("<>=!~").removesuffix(".*")
    return spec.startswith("!="), spec.startswith("<"), parse_version(number)


def rows(read: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (first version, last version, other package, specifier) of one package."""
    versions = sorted(read, key=parse_version)
    for other in sorted({name for asked in read.values() for name in asked}):
        run: list[str] = []
        for version, after in zip(versions, [*versions[1:], None], strict=True):
            spec = read[version].get(other)
            if spec is None:
                continue
            run.append(version)
            if after is None or read[after].get(other) != spec:
                yield run[0], run[-1], other, spec
                run = []


def versions_read() -> dict[str, list[str]]:
    """Return package → versions whose metadata was read, oldest first."""
    return {
        package: versions.split() for package, versions in yaml.safe_load(READ.read_text("utf-8")).items()
    }


def add_read(package: str, version: str) -> None:
    """Add a version to those read of a package."""
    read = versions_read()
    read[package] = sorted([*read[package], version], key=parse_version)
    comment = READ.read_text("utf-8").splitlines()[0]
    lines = [comment]
    for name, versions in read.items():
        lines += [f"{name}: >-", *(f"  {line}" for line in textwrap.wrap(" ".join(versions), 114))]
    READ.write_text("\n".join(lines) + "\n", encoding="utf-8")


def block(package: str, read: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the lines of one package: its name, and a row for each span of versions that ask for the same."""
    lines = [f"{package}:"]
    for first, last, other, spec in rows(read):
        span = f"=={first}" if first == last else f">={first},<={last}"
        lines.append(f'  - {{package: {other}, versions: "{span}", spec: "{spec}"}}')
    return lines


def asked_before(text: str, package: str, versions: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return version → what it asks for, from the rows of a file that this script has written."""
    kept = yaml.safe_load(text)[package]
    return {
        version: {
            row["package"]: row["spec"] for row in kept if matches(compile_spec(row["versions"]), version)
        }
        for version in versions
    }


def with_release(text: str, package: str, version: str, requires: Sequence[str]) -> str:
    """Return the file with what one more release asks for; others are taken from the file itself."""
    versions = [one for one in versions_read()[package] if one != version]
    read = {**asked_before(text, package, versions), version: asks(requires)}
    lines = text.splitlines()
    begin = lines.index(f"{package}:")
    end = next((n for n in range(begin + 1, len(lines)) if not lines[n].startswith(" ")), len(lines))
    return "\n".join([*lines[:begin], *block(package, read), *lines[end:]]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the metadata and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where metadata is kept between runs")
    options = parser.parse_args(arguments)
    lines = [
        "# Requires-Dist of released packages, as the package index has it; written by scripts/requirements.py.",
        "# A row holds between two versions that were read and ask for the same.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for package, versions in versions_read().items():
            keep = options.keep or Path(folder)
            lines += block(package, {v: asks(metadata_of(package, v, keep)) for v in versions})
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
