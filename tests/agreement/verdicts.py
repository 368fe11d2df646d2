"""Everything we say about everything we have, one line a checkpoint, to compare two versions of the code.

``python -m tests.agreement.verdicts OUT`` writes it; ``python -m tests.agreement.verdicts --against OLD NEW`` says
what differs but for evidence and order. Fixtures (broken recipes and card examples included) and, where there is one,
the corpus. ``… OUT TARGET…`` asks about other targets than the usual ones, and leaves out the examples, which name
theirs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ckptdoctor.model import Report, Target
from ckptdoctor.render.json import as_dict
from ckptdoctor.sources import open_source
from tests.conftest import ROOT
from tests.observe.cases import adapter_base, load_cases, made
from tests.support import cards, corpus_source
from tests.support.shipped import check_source, parse_target

TARGETS = (
    "transformers==5.24.0",
    "transformers==5.23.0",
    "transformers==4.57.6",
    "transformers==5.23.0,compressed-tensors==0.17.1",
    "vllm==0.33.0,vllm-bnb-plugin==0.0.3",
    "vllm==0.32.0,vllm-bnb-plugin==0.0.3",
    "vllm==0.27.1",
    "vllm==0.20.0",
    "vllm==0.8.3",
    "vllm==0.32.0,tp=2",
    "unsloth==2026.10.9",
    "unsloth==2025.3.10,unsloth_zoo==2025.3.9,vllm==0.7.3",
    "peft==0.21.2",
    "peft==0.17.0",
    "sglang",
    "tgi",
    "llama.cpp",
)


def everything(targets: Sequence[str] = ()) -> Iterator[tuple[str, Report]]:
    """Yield every checkpoint at hand with its report for `TARGETS`, or for others."""
    wanted: list[Target] = [parse_target(text) for text in targets or TARGETS]
    for case in load_cases():
        with made(case) as path:
            base = adapter_base(case)
            onto = open_source(str(base)) if base else None
            report = check_source(open_source(str(path)), wanted, base=onto)
        yield f"{case.family}/{case.id}", report._replace(target=case.name)
    for path in sorted((ROOT / "fixtures" / "written").rglob("*")):
        if path.is_dir() and any(file.is_file() for file in path.iterdir()):
            name = str(path.relative_to(ROOT))
            yield name, check_source(open_source(str(path)), wanted, metadata_only=True)._replace(target=name)
    for example in () if targets else cards.all_examples():
        yield f"card {example.id}", cards.run(example, select=False)
    for row in corpus_source.rows():
        yield (
            f"corpus {row.slug}",
            check_source(corpus_source.CorpusSource(row.path), wanted, metadata_only=True),
        )


def line(report: Report) -> dict[str, Any]:
    """Return a report as JSON that does not depend on the order of things or on how sure we are."""
    value = as_dict(report)
    value.pop("rulebook", None)
    value.pop("tool", None)
    value["base"] = Path(value.get("base") or "").name  # not where the checkout lies
    for finding in value["findings"]:
        for outcome in finding["outcomes"]:
            outcome.pop("evidence", None)
        finding["outcomes"].sort(key=json.dumps)
    for verdict in value["verdicts"]:
        verdict.pop("evidence", None)
        verdict["because"] = sorted(verdict["because"])
    for key in ("findings", "verdicts", "skips", "crashes"):
        value[key].sort(key=lambda item: json.dumps(item, sort_keys=True))
    return value


def read(path: str) -> dict[str, Any]:
    """Return what such a file says, by checkpoint."""
    rows = (json.loads(text) for text in Path(path).read_text(encoding="utf-8").splitlines())
    return {row["of"]: row["report"] for row in rows}


def differences(old: dict[str, Any], new: dict[str, Any], at: str = "") -> Iterator[str]:
    """Yield every place where two values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from differences(old.get(key), new.get(key), f"{at}/{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{at}/{place}")
    elif old != new:
        yield f"{at}: {json.dumps(old)[:300]} → {json.dumps(new)[:300]}"


def main(args: list[str]) -> int:
    """Write or compare; exit status 1 where something differs."""
    if args[:1] == ["--against"]:
        old, new = read(args[1]), read(args[2])
        found = [
            f"{name} {text}"
            for name in sorted(old | new)
            for text in differences(old.get(name), new.get(name))
        ]
        sys.stdout.write(
            "\n".join([*found[:200], f"{len(old | new)} checkpoints, {len(found)} differences\n"])
        )
        return 1 if found else 0
    with Path(args[0]).open("w", encoding="utf-8") as file:
        for name, report in everything(args[1:]):
            file.write(json.dumps({"of": name, "report": line(report)}, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
