"""How we do in the exam: ``python -m tests.exam.score [--list]``: verdicts beside what the real loader did."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ckptdoctor import ruledata
from ckptdoctor.engine import check_source
from ckptdoctor.model import Verdict
from ckptdoctor.targets import parse_target
from tests.exam import sketch
from tests.exam.damages import DAMAGES
from tests.exam.run import EXAM

SILENT = ("corrupt", "wrong-precision")


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
            broken = DAMAGES[row["damage"]](sounds[name])
            if broken is None or row["outcome"] == "env":
                continue
            report = check_source(sketch.source(broken, f"{name}-{row['damage']}"), [target])
            known = ruledata.architecture(name) is not None
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
