"""How we do in the exam: ``python -m tests.exam.score [--list]``: verdicts beside what the real loader did."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ckptdoctor.model import Verdict
from tests.exam import sketch
from tests.exam.run import EXAM, asked
from tests.support.shipped import RULEBOOK, check_source, parse_target

SILENT = ("corrupt", "wrong-precision")
ENVIRONMENT = (
    "object has no attribute 'compute_logits'",  # the observer asks every model for logits; encoders have none
    "Dimension out of range (expected to be in range of [-2, 1], but got 2)",  # vLLM's CPU backend scans no Mamba 1
)
"""What only the observer or this machine caused."""


class Answer(NamedTuple):
    """One damaged model: what the loader did, and what we said."""

    target: str
    model: str
    damage: str
    observed: str
    verdict: Verdict
    blueprint: bool
    note: str

    @property
    def word(self) -> str:
        """How the two go together."""
        said = self.verdict.outcome
        if said == self.observed:
            return "agrees"
        if said == "unknown":
            return "unknown"
        if self.observed == "ok":
            return "false alarm"
        if said == "ok":
            return "silent missed" if self.observed in SILENT else "loud missed"
        return "another outcome"


def answers() -> Iterator[Answer]:
    """Yield every recorded case with our verdict on it; what only the environment did is left out."""
    for path in sorted(EXAM.glob("*.jsonl")):
        target = parse_target(_target(path))
        sounds: dict[str, sketch.Sketch] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            name = row["model"]
            if name not in sounds:
                sounds[name] = sketch.from_json(
                    json.loads((EXAM / "models" / f"{name}.json").read_text(encoding="utf-8"))
                )
            damage = asked(name).get(row["damage"])
            broken = damage(sounds[name]) if damage else None
            only_here = any(text in (row["raised"] or "") for text in ENVIRONMENT)
            if broken is None or only_here or row["outcome"] == "env":
                continue
            report = check_source(sketch.source(broken, f"{name}-{row['damage']}"), [target])
            known = RULEBOOK.architecture(name) is not None
            note = row["raised"] or row["detail"] or ""
            yield Answer(path.stem, name, row["damage"], _harm(row), report.verdicts[0], known, note)


def _harm(row: dict[str, str]) -> str:
    """What became of it: a bias that is stored and never loaded is lost, whatever the model without it answers."""
    lost = row["damage"] == "add-bias" and row["outcome"] == "ok"
    return "corrupt" if lost else row["outcome"]


def _target(path: Path) -> str:
    loader, _, version = path.stem.partition("-")
    return f"{loader}=={version}" + (",vllm-bnb-plugin==0.0.3" if loader == "vllm" else "")


WORDS = ("agrees", "unknown", "silent missed", "loud missed", "false alarm", "another outcome")


def markdown(found: Sequence[Answer]) -> str:
    """Return the README's table, a row for each loader with and without a blueprint of the class."""
    rows = [
        "| loader | class | damaged models | agree | of those judged | silent missed | false alarms |",
        "|---|---|---|---|---|---|---|",
    ]
    for target in sorted({a.target for a in found}):
        for known in (True, False):
            mine = [a for a in found if a.target == target and a.blueprint is known]
            words = Counter(a.word for a in mine)
            judged = len(mine) - words["unknown"]
            share = f"{words['agrees'] / max(1, judged):.1%}"
            name, _, version = target.partition("-")
            what = "described" if known else "not described"
            rows.append(
                f"| {name} {version} | {what} | {len(mine)} | {words['agrees']} | {share} of {judged} "
                f"| {words['silent missed']} | {words['false alarm']} |"
            )
    return "\n".join(rows)


def main(args: list[str]) -> int:
    """Print the table, and with ``--list`` every case that does not agree."""
    found = list(answers())
    if "--list" in args:
        for a in found:
            if a.word != "agrees":
                why = ", ".join(a.verdict.because) or a.verdict.reason
                said = f"{a.observed}, said {a.verdict.outcome} ({why})"
                sys.stdout.write(f"{a.word}: {a.model} {a.damage} [{a.target}] {said} | {a.note[:140]}\n")
    for target in sorted({a.target for a in found}):
        for known in (True, False):
            mine = [a for a in found if a.target == target and a.blueprint is known]
            counts = Counter(a.word for a in mine)
            judged = len(mine) - counts["unknown"]
            share = f"{counts['agrees'] / max(1, judged):.1%} of {judged} judged"
            told = ", ".join(f"{counts[word]} {word}" for word in WORDS)
            sys.stdout.write(f"{target} {'blueprint' if known else 'none'}: {len(mine)}: {told}; {share}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
