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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ckptdoctor.ruledata import parse_version  # noqa: E402

FILE = ROOT / "rules" / "requirements.yaml"
PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "extra": ""}
PACKAGES = (
    "torch", "transformers", "tokenizers", "huggingface-hub", "safetensors", "accelerate", "bitsandbytes", "peft",
    "trl", "vllm", "vllm-bnb-plugin", "unsloth", "unsloth-zoo",
)  # fmt: skip
READ = {
    "bitsandbytes": "0.43.3 0.44.1 0.45.5 0.46.1 0.47.0 0.48.2 0.49.2 0.50.2",
    "peft": "0.11.1 0.12.0 0.13.2 0.14.0 0.15.2 0.16.0 0.17.1 0.18.0 0.18.1 0.19.1 0.20.0 0.21.2",
    "transformers": "4.44.2 4.45.2 4.46.3 4.47.1 4.48.3 4.49.0 4.50.3 4.51.3 4.52.4 4.53.3 4.54.1 4.55.4 4.56.2 "
    "4.57.1 4.57.6 5.0.0 5.1.0 5.2.0 5.3.0 5.4.0 5.5.4 5.6.2 5.7.0 5.8.1 5.9.0 5.10.4 5.11.0 5.12.1 5.13.1 5.14.1 "
    "5.15.1 5.16.1 5.17.0 5.18.0 5.19.0 5.20.2 5.21.1 5.22.2 5.23.0",
    "unsloth": "2025.2.2 2025.3.10 2025.3.11 2025.3.19 2025.4.7 2025.5.1 2025.5.9 2025.6.1 2025.7.11 2025.8.1 "
    "2025.8.10 2025.9.11 2025.10.1 2025.10.4 2025.10.12 2025.11.6 2025.12.10 2026.1.4 2026.2.1 2026.3.1 2026.3.18 "
    "2026.4.8 2026.5.10 2026.6.9 2026.7.6 2026.8.22 2026.9.14 2026.10.9",
    "unsloth_zoo": "2025.2.7 2025.3.9 2025.3.11 2025.3.17 2025.4.4 2025.5.11 2025.6.8 2025.7.11 2025.8.9 2025.9.14 "
    "2025.10.4 2025.10.13 2025.11.6 2025.12.8 2026.1.4 2026.2.1 2026.3.1 2026.3.7 2026.4.9 2026.5.5 2026.6.7 2026.7.7 "
    "2026.8.17 2026.9.9 2026.10.9",
    "vllm": "0.6.6 0.7.3 0.8.5 0.9.2 0.10.2 0.11.2 0.12.0 0.13.0 0.14.1 0.15.1 0.16.0 0.17.1 0.18.1 0.19.1 0.20.2 "
    "0.21.0 0.22.1 0.23.0 0.24.0 0.25.1 0.26.0 0.27.1 0.28.0 0.29.0 0.30.0 0.31.0 0.32.0 0.33.0",
    "vllm-bnb-plugin": "0.0.1 0.0.2 0.0.3",
}  # fmt: skip
"""Package → versions read."""


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
        for package, versions in READ.items():
            keep = options.keep or Path(folder)
            read = {v: asks(metadata_of(package, v, keep)) for v in versions.split()}
            lines.append(f"{package}:")
            for first, last, other, spec in rows(read):
                span = f"=={first}" if first == last else f">={first},<={last}"
                lines.append(f'  - {{package: {other}, versions: "{span}", spec: "{spec}"}}')
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
