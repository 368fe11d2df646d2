"""Take in a new release of a loader:

    python -m scripts.release transformers 5.24.0 --observe --report docs/releases/transformers-5.24.0.md
    python -m scripts.release vllm 0.34.0 --diff /tmp/vllm.diff          # read the diff, then:
    python -m scripts.release vllm 0.34.0 --read loading arguments

The released wheel is fetched from the package index and parsed, never imported. A part of the release counts as read
where every place that the model was read from is as in some release that was read, or where --read names it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ckptdoctor.rulebook.document import load
from scripts.release import compared, intake, observing, report
from scripts.release.forget import without
from scripts.release.package import NotFetched, Package, fetch, opened
from tests.observe.paths import ROOT

RULES = ROOT / "rules" / "loaders"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the intake and print its report; exit status 2 for what cannot be taken in."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", help="a package that rules/loaders lists releases of")
    parser.add_argument("version")
    parser.add_argument(
        "--read", nargs="*", default=[], metavar="PART", help="parts that a person has compared"
    )
    parser.add_argument("--wheel", type=Path, help="a wheel that is here, in place of the package index")
    parser.add_argument(
        "--date", help="the day of the release (YYYY-MM-DD), where the wheel does not tell it"
    )
    parser.add_argument("--diff", type=Path, help="where to write the changed places as diffs")
    parser.add_argument("--report", type=Path, help="where to write the report besides")
    parser.add_argument(
        "--observe", action="store_true", help="let it open every case, in an environment made for it"
    )
    parser.add_argument("--python", help="the interpreter of an environment with it: observe there")
    parser.add_argument("--forget", action="store_true", help="take the release out again")
    parser.add_argument(
        "--no-verdicts", action="store_true", help="do not compare verdicts before and after (a minute)"
    )
    options = parser.parse_args(arguments)
    try:
        lines = [forget(options)] if options.forget else list(taken_in(options))
    except (NotFetched, KeyError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(text, encoding="utf-8")
    return 0


def forget(options: argparse.Namespace) -> str:
    """Take the release out again and return what to say."""
    path = intake.file_of(options.package, RULES)
    text, data = path.read_text(encoding="utf-8"), load(path, path.name).value
    path.write_text(without(text, data, options.package, options.version), encoding="utf-8")
    return f"{path.name} knows nothing of {options.package} {options.version} any more."


def taken_in(options: argparse.Namespace) -> Iterator[str]:
    """Take the release in and yield the lines of the report. Raises what `main` turns into a message."""
    path = intake.file_of(options.package, RULES)
    package = (
        opened(options.wheel, options.package) if options.wheel else fetch(options.package, options.version)
    )
    table = load(path, path.name).value["releases"][options.package]
    day = options.date or table.get(options.version, {}).get("date") or package.built
    if package.version != options.version or not day:
        raise ValueError(
            f"{options.package} {options.version}: got {package.version}, {day or 'no date: say --date'}"
        )
    target = f"{path.stem}=={options.version}"
    with tempfile.TemporaryDirectory() as folder:
        compare = path.stem == options.package and not options.no_verdicts
        before = compared.said(target, Path(folder, "before")) if compare else None
        taken = intake.take(path, package, options.read, day)
        path.write_text(taken.text, encoding="utf-8")
        needs = intake.take_requirements(package)
        yield from report.of_places(taken, package)
        yield from report.of_lists(taken, needs)
        if options.diff:
            write_diffs(options.diff, taken, package)
        yield from runs(options, path)
        if before is not None:
            after = compared.said(target, Path(folder, "after"))
            yield from report.of_verdicts(target, compared.differences(before, after))


def write_diffs(path: Path, taken: intake.Taken, package: Package) -> None:
    """Write what changed in the places since the release that each was read in before."""
    lines: list[str] = []
    for since in sorted({change.since for change in taken.changes if change.since}):
        old = fetch(package.name, since)
        lines += report.diffs([change for change in taken.changes if change.since == since], old, package)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def runs(options: argparse.Namespace, path: Path) -> Iterator[str]:
    """Record what the release does, where it was asked for, and yield how what is recorded compares."""
    loader, version = path.stem, options.version
    if options.observe or options.python:
        observing.observe(loader, version, options.python or observing.environment(loader, version))
    if loader != options.package or not compared.recorded(loader, version):
        yield from report.of_runs("", 0, [], "", [])
        return
    about = load(path, path.name).value["releases"][loader][version]
    text = intake.with_release(path.read_text(encoding="utf-8"), loader, version, {**about, "ran": True})
    path.write_text(text, encoding="utf-8")
    since = compared.newest_recorded(loader, version)
    both, lines = compared.done_otherwise(loader, since, version)
    words, wrong = compared.agreement(loader, version)
    agreed = ", ".join(f"{words[word]} {word}" for word in ("agree", "differ", "abstained"))
    yield from report.of_runs(since, both, lines, agreed, wrong)


if __name__ == "__main__":
    sys.exit(main())
