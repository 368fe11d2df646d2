"""Take a release out of ``rules/loaders`` again, as if it had never been taken in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scripts import vllm_registries
from scripts.release import places, registries, yamltext


def without(text: str, data: Mapping[str, Any], package: str, version: str) -> str:
    """Return a loader's YAML without one release of a package: its line, its digests, what its lists brought."""
    begin, end = yamltext.block(text, "releases", package)
    lines = [line for line in text.splitlines()[begin:end] if not line.startswith(f'    "{version}":')]
    text = yamltext.replaced(text, lines, "releases", package)
    if known := places.of(data, package):
        seen = [place._replace(seen={v: d for v, d in place.seen.items() if v != version}) for place in known]
        text = places.written(text, package, seen)
    for registry in registries.of_package(package):
        text = _less(text, data, registry.table, package, version)
    return text


def _less(text: str, data: Mapping[str, Any], table: str, package: str, version: str) -> str:
    rows = data[table]
    if table == "architectures":
        read = registries.versions_read(data, package, but=version)
        present = {one: registries.holding(rows, one, "names") for one in read}
        return vllm_registries.spliced(text, vllm_registries.block(present))
    if not isinstance(rows, list):
        return text  # one list for all versions says nothing of one of them
    if "names" in rows[0] and isinstance(rows[0]["names"], str):
        return yamltext.replaced(text, registries.rows_written(_merged(rows, version)), table)
    begin, end = yamltext.block(text, table)
    kept = [line for line in text.splitlines()[begin:end] if f'versions: ">={version}"' not in line]
    return yamltext.replaced(text, [re.sub(rf',<{re.escape(version)}"', '"', line) for line in kept], table)


def _merged(rows: list[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    """Return the rows without those that begin at a release, and with what ended there back where it was."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        spec = row["versions"].removesuffix(f",<{version}")
        if spec == f">={version}":
            continue
        names = (
            sorted({*found.get(spec, row)["names"].split(), *row["names"].split()}) if spec in found else None
        )
        found[spec] = {**row, "versions": spec, **({"names": " ".join(names)} if names else {})}
    return list(found.values())
