"""The lists of names in ``rules/loaders`` (classes, model types, methods, keys), brought up to a new release.

A name that the release lists for the first time holds from there on; one that is gone held until then.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ckptdoctor.rulebook.versions import compile_spec
from ckptdoctor.ruledata import matches, parse_version
from scripts import vllm_registries
from scripts.release import listed, yamltext
from scripts.release.package import Package

WIDTH = 112
Data = Mapping[str, Any]


class Updated(NamedTuple):
    """A loader's YAML after one list, and what changed in the list."""

    text: str
    added: list[str]
    gone: list[str]


class Registry(NamedTuple):
    """One list: the table it is kept in, how a release is asked for it, how the table is written."""

    table: str
    names: Callable[[Package], set[str]]
    update: Callable[[str, Data, str, set[str], Package], Updated]


def of_package(name: str) -> tuple[Registry, ...]:
    """Return the lists that a package's releases are asked for."""
    return _REGISTRIES.get(name, ())


def holding(rows: Iterable[Mapping[str, Any]], version: str, key: str) -> set[str]:
    """Return the names of the rows that hold at a version."""
    found: set[str] = set()
    for row in rows:
        if matches(compile_spec(row["versions"]), version):
            names = row[key]
            found |= set(names if isinstance(names, list) else names.split())
    return found


def versions_read(data: Data, package: str, *, but: str) -> list[str]:
    """Return the releases whose lists were read, one left out."""
    table = data["releases"][package]
    return [
        version for version, about in table.items() if "registry" in about.get("read", ()) and version != but
    ]


def rows_written(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table of rows ``{versions, evidence, names}``."""
    return [line for row in rows for line in _row(row)]


def _words(
    text: str, data: Data, table: str, now: set[str], package: Package, *, closes: bool = True
) -> Updated:
    """A table of rows ``{versions, evidence, names}``: a row for what is new; what is gone leaves its rows."""
    rows, version = list(data[table]), package.version
    had = holding(rows, version, "names")
    added, gone = sorted(now - had), sorted(had - now) if closes else []
    changed = (
        [*rows, {"versions": f">={version}", "evidence": "source", "names": " ".join(added)}]
        if added
        else rows
    )
    for name in gone:
        changed = list(_without(changed, name, version))
    if changed == rows:
        return Updated(text, [], [])
    return Updated(yamltext.replaced(text, rows_written(changed), table), added, gone)


def _only_new(text: str, data: Data, table: str, now: set[str], package: Package) -> Updated:
    """A list whose names move elsewhere when they go (vLLM's own configs to transformers): none is taken away."""
    return _words(text, data, table, now, package, closes=False)


def _without(rows: Iterable[dict[str, Any]], name: str, version: str) -> Iterable[dict[str, Any]]:
    for row in rows:
        names = row["names"].split()
        if name not in names or not matches(compile_spec(row["versions"]), version):
            yield row
            continue
        rest = " ".join(one for one in names if one != name)
        yield {**row, "names": name, "versions": f"{row['versions']},<{version}"}
        if rest:
            yield {**row, "names": rest}


def _row(row: Mapping[str, Any]) -> list[str]:
    names = textwrap.wrap(row["names"], WIDTH - 6, break_long_words=False, break_on_hyphens=False)
    return [
        f'  - versions: "{row["versions"]}"', f"    evidence: {row['evidence']}", "    names: >-",
        *(f"      {line}" for line in names),
    ]  # fmt: skip


def _flow_rows(text: str, data: Data, table: str, now: set[str], package: Package) -> Updated:
    """A table of lines ``- {method: NAME, versions: SPEC}``, in the order of the names; notes behind a line stay."""
    version = package.version
    had = {row["method"] for row in data[table] if matches(compile_spec(row["versions"]), version)}
    added, gone = sorted(now - had), sorted(had - now - _TAKEN_OVER)
    begin, end = yamltext.block(text, table)
    lines = text.splitlines()[begin:end]
    for name in gone:
        open_row = re.compile(rf'(  - {{method: {re.escape(name)}, versions: ")(>=[^",]+)(".*)')
        lines = [open_row.sub(rf"\g<1>\g<2>,<{version}\g<3>", line) for line in lines]
    for name in added:
        line = f'  - {{method: {name}, versions: ">={version}"}}'
        lines.insert(next((n for n, other in enumerate(lines) if other > line), len(lines)), line)
    return Updated(yamltext.replaced(text, lines, table) if added or gone else text, added, gone)


_TAKEN_OVER = frozenset({"auto-round"})
"""Methods that vLLM reads though its list has not got them: see the note in rules/loaders/vllm.yaml."""


def _known_methods(text: str, data: Data, table: str, now: set[str], package: Package) -> Updated:
    """transformers: one list for all versions, of what has a quantiser."""
    had = set(data[table]["known"])
    added = sorted(now - had)
    return Updated(
        text.replace("  known: [", f"  known: [{', '.join(added)}, ", 1) if added else text, added, []
    )


def _architectures(text: str, data: Data, table: str, now: set[str], package: Package) -> Updated:
    """vLLM's registry: what every release that was read lists, put together again (scripts/vllm_registries.py)."""
    read = versions_read(data, package.name, but=package.version)
    present = {version: holding(data[table], version, "names") for version in read}
    older = [version for version in read if parse_version(version) < parse_version(package.version)]
    before = present[max(older, key=parse_version)]
    new = vllm_registries.spliced(text, vllm_registries.block({**present, package.version: now}))
    return Updated(new, sorted(now - before), sorted(before - now))


def _key_lists(text: str, data: Data, table: str, now: set[str], package: Package) -> Updated:
    """PEFT's ``config_keys``: ``- {versions: SPEC, names: [NAME, …], evidence: source}``."""
    had = {name for row in data[table] for name in row["names"]}
    added = sorted(now - had)
    if not added:
        return Updated(text, [], [])
    begin, end = yamltext.block(text, table)
    line = f'  - {{versions: ">={package.version}", names: [{", ".join(added)}], evidence: source}}'
    return Updated(yamltext.replaced(text, [*text.splitlines()[begin:end], line], table), added, [])


def _type_names(text: str, data: Data, table: str, now: set[str], package: Package) -> Updated:
    """PEFT's ``types``: one list, which holds up to the newest release that was read."""
    had, spec = data[table]["names"].split(), data[table]["versions"]
    added = sorted(now - set(had))
    newest = max(package.version, spec.rpartition("<=")[2], key=parse_version)
    until = re.sub(r"<=.*", f"<={newest}", spec)
    names = textwrap.wrap(" ".join([*had, *added]), WIDTH - 4, break_long_words=False)
    lines = [f'  versions: "{until}"', f"  evidence: {data[table]['evidence']}", "  names: >-"]
    return Updated(yamltext.replaced(text, [*lines, *(f"    {line}" for line in names)], table), added, [])


def _source(package: Package, path: str) -> str:
    return package.sources.get(path, "")


_QUANTISERS = "transformers/quantizers/auto.py"
_CONFIGS = [f"transformers/models/auto/{name}.py" for name in ("auto_mappings", "configuration_auto")]
_NOT_IN_FILES = {"bitsandbytes_4bit", "bitsandbytes_8bit", "gguf"}
"""Keys of transformers' mapping that no ``quant_method`` of a folder has: bitsandbytes is split in two by its flags."""
_REGISTRIES: dict[str, tuple[Registry, ...]] = {
    "transformers": (
        Registry(
            "model_types",
            lambda p: set().union(
                *(listed.keys(_source(p, path), "CONFIG_MAPPING_NAMES") for path in _CONFIGS)
            ),
            lambda text, data, now, names, p: _words(text, data, now, names, p),
        ),
        Registry(
            "methods",
            lambda p: (
                listed.keys(_source(p, _QUANTISERS), "AUTO_QUANTIZATION_CONFIG_MAPPING") - _NOT_IN_FILES
            ),
            _known_methods,
        ),
    ),
    "vllm": (
        Registry(
            "architectures",
            lambda p: vllm_registries.listed(p.sources[vllm_registries.MEMBER]),
            _architectures,
        ),
        Registry(
            "methods",
            lambda p: listed.words(
                _source(p, "vllm/model_executor/layers/quantization/__init__.py"), "QuantizationMethods"
            ),
            _flow_rows,
        ),
        Registry(
            "model_types",
            lambda p: listed.keys(_source(p, "vllm/transformers_utils/config.py"), "_CONFIG_REGISTRY"),
            _only_new,
        ),
    ),
    "peft": (
        Registry(
            "config_keys",
            lambda p: listed.fields(_source(p, "peft/tuners/lora/config.py"), "LoraConfig"),
            _key_lists,
        ),
        Registry(
            "types", lambda p: listed.fields(_source(p, "peft/utils/peft_types.py"), "PeftType"), _type_names
        ),
    ),
}
