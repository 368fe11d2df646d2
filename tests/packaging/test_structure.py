"""The house as it stands: no circles, small files, short and simple functions, every room in the contract."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import median

import pytest

from ..conftest import ROOT

PACKAGE = ROOT / "ckptdoctor"
MAX_LINES, MEDIAN_LINES, MAX_FUNCTION, MAX_COMPLEXITY = 300, 120, 60, 15


@cache
def modules(top: Path = PACKAGE) -> Mapping[str, Path]:
    """Return every module of the package, or of another folder, by its dotted name."""
    found = {}
    for path in sorted(top.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of ``known`` that ``name`` imports, in functions and under TYPE_CHECKING too."""
    path = known[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in known else origin
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def circles(graph: Mapping[str, set[str]]) -> set[str]:
    """Return the nodes that lie on a circle: what is left when those without arrows in or out are taken away."""
    left = dict(graph)
    while True:
        used = {target for targets in left.values() for target in targets}
        ends = [name for name, targets in left.items() if name not in used or not targets & left.keys()]
        if not ends:
            return set(left)
        for name in ends:
            del left[name]


def test_the_search_for_circles_finds_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"b", "c"}


@pytest.mark.parametrize("top", ["ckptdoctor", "scripts"])
def test_no_import_circle(top: str) -> None:
    known = modules(ROOT / top)
    graph = {name: {one for one in imports(name, known) if one in known and one != name} for name in known}
    assert sum(map(len, graph.values())) > len(graph), "no imports were found"
    assert circles(graph) == set()


def loads_the_rulebook(name: str) -> bool:
    """Whether a module takes the compiled rulebook for itself: ``ruledata.load``, by whatever way it is imported."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    origins = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    taken = {alias.name for node in origins if "ruledata" in (node.module or "") for alias in node.names}
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return (
        "load" in taken or "ruledata.load" in used or "ckptdoctor.ruledata.store" in imports(name, modules())
    )


def test_the_rulebook_is_passed() -> None:
    """The command line and the public API load it; everything else is given the one it works with."""
    loading = {name for name in modules() if loads_the_rulebook(name)} - {"ckptdoctor.ruledata"}
    assert "ckptdoctor" in loading, "no load was found"
    assert not {name for name in loading if name != "ckptdoctor" and not name.startswith("ckptdoctor.cli.")}


@cache
def tools() -> tuple[Path, ...]:
    """Return the files that make and measure: what stands beside the package and is more than tests."""
    folders = ("scripts", "bench", "tests/observe", "tests/exam", "tests/support")
    return tuple(path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def lines_of(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def test_files_are_small() -> None:
    everything = (*modules().values(), *tools())
    over = {
        str(path.relative_to(ROOT)): count for path in everything if (count := lines_of(path)) > MAX_LINES
    }
    assert over == {}, "more than 300 lines: take it apart"
    assert median(map(lines_of, modules().values())) <= MEDIAN_LINES


def tangled(path: Path) -> Iterator[str]:
    """Yield the functions of a file that are too long, or have too many ways through them.

    Branches, loops and conditions count, `and` and `or` among them (ruff's C901 leaves those out).
    """
    radon = pytest.importorskip("radon.complexity")
    for block in radon.cc_visit(path.read_text(encoding="utf-8")):
        for part in (block, *getattr(block, "methods", ())):
            if hasattr(part, "methods"):
                continue
            if part.complexity > MAX_COMPLEXITY:
                yield f"{part.name}: {part.complexity} ways"
            if part.endline - part.lineno >= MAX_FUNCTION:
                yield f"{part.name}: {part.endline - part.lineno + 1} lines"


def test_functions_are_short_and_simple() -> None:
    over = {}
    for path in (*modules().values(), *tools()):
        place = path.relative_to(ROOT).as_posix()
        if found := set(tangled(path)):
            over[place] = found
    assert over == {}, f"more than {MAX_FUNCTION} lines or {MAX_COMPLEXITY} ways through: take it apart"


def test_only_cli_speaks() -> None:
    """The contract that forbids click and rich names every room but those at the door."""
    toml = pytest.importorskip("tomllib")  # Python 3.11
    settings = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [listed] = [one["source_modules"] for one in contracts if one["name"] == "Only cli speaks"]
    rooms = {name for name in modules() if name.count(".") == 1}
    assert set(listed) == rooms - {"ckptdoctor.cli", "ckptdoctor.__main__"}
