"""The intake of a release, offline: wheels made here, a loader's YAML of one's own, and the real pip to fetch with."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckptdoctor import ruledata
from ckptdoctor.rulebook import releases
from ckptdoctor.rulebook.document import load
from scripts.release import __main__ as command
from scripts.release import intake, places, registries, report, yamltext
from scripts.release.forget import without
from scripts.release.package import NotFetched, Package, fetch, opened
from scripts.release.syntax import ABSENT, digest
from tests.conftest import ROOT

RULES = ROOT / "rules" / "loaders"
SOURCE = {
    "toyload/reading.py": 'def read(path):\n    """Read."""\n    return open(path).read()\n\nclass Loader:\n'
    "    def load(self, name):\n        return read(name)\n",
    "toyload/boom.py": "raise SystemExit('nobody imports this')\n",
}
TOY = """\
loader: toyload
releases:
  toyload:
    "1.0": {date: 2026-01-01, read: [loading], ran: true}
    # a note that stays
behaviour: []
places:  # a note that stays
  toyload:
    loading:
      toyload/reading.py:
        read: {}
        Loader.load: {}
    extras:
      toyload/more.py:
        "*": {}
"""


def wheel(folder: Path, version: str, sources: Mapping[str, str] = SOURCE, requires: str = "") -> Path:
    """Write a wheel of the package ``toyload``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"toyload-{version}-py3-none-any.whl"
    about = f"toyload-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        record = {
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: toyload\nVersion: {version}\n{requires}",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": "",
        }
        for name, text in {**sources, **record}.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 2, 3, 4, 5, 6)), text)
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A loader's YAML with one release taken in."""
    path = tmp_path / "toyload.yaml"
    path.write_text(TOY)
    first = opened(wheel(tmp_path / "first", "1.0"), "toyload")
    path.write_text(intake.take(path, first, ["loading"], "2026-01-01").text)
    return path


def taken(rules: Path, version: str, sources: Mapping[str, str] = SOURCE, *looked: str) -> intake.Taken:
    """Take a release with these sources in."""
    package = opened(wheel(rules.parent / version, version, sources), "toyload")
    return intake.take(rules, package, looked, package.built)


def changed(old: str, new: str) -> dict[str, str]:
    assert old in SOURCE["toyload/reading.py"]
    return {**SOURCE, "toyload/reading.py": SOURCE["toyload/reading.py"].replace(old, new)}


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("read()\n", "read()  # a note\n", True),
        ('    """Read."""\n', "", True),
        ("open(path).read()", "open(\n        path\n    ).read()", True),
        ("open(path)", "open(path, 'rb')", False),
        ("def read(path)", "def read(path: str)", False),
        ("read(name)", "read(name + '.new')", False),
        ("def load(", "def loads(", False),
    ],
)
def test_a_part_is_read_where_its_places_are_as_they_were(
    rules: Path, old: str, new: str, same: bool
) -> None:
    found = taken(rules, "1.1", changed(old, new))
    assert found.read == (["loading"] if same else [])
    assert bool([c for c in found.changes if c.what != "never read"]) is not same


def test_a_changed_part_is_read_when_a_person_says_so(rules: Path) -> None:
    sources = changed("open(path)", "open(path, 'rb')")
    assert taken(rules, "1.1", sources).read == []
    assert taken(rules, "1.1", sources, "loading").read == ["loading"]


def test_a_part_that_is_again_as_it_was_once_is_read(rules: Path) -> None:
    """Whichever release it was read in: the one before, one before that, or a later one."""
    rules.write_text(taken(rules, "1.1", changed("open(path)", "open(path, 'rb')")).text)
    assert taken(rules, "1.2").read == ["loading"]
    assert taken(rules, "0.9").read == ["loading"]


def test_places_that_come_and_go_are_told(rules: Path) -> None:
    sources = {"toyload/more.py": "X = 1\n", "toyload/reading.py": "def read(path): ...\n"}
    found = {(c.place.name, c.what) for c in taken(rules, "1.1", sources).changes}
    assert found == {("read", "changed"), ("Loader.load", "gone"), ("*", "new")}


def test_taking_a_release_in_again_changes_nothing(rules: Path) -> None:
    found = taken(rules, "1.1", changed("open(path)", "open(path, 'rb')"), "loading")
    rules.write_text(found.text)
    again = taken(rules, "1.1", changed("open(path)", "open(path, 'rb')"))
    assert again.text == found.text


def test_what_was_read_decides_what_is_known(rules: Path) -> None:
    """From the wheel to the evidence: the same, a change that nobody read, the same as that."""
    for version, sources in (("1.1", SOURCE), ("1.2", changed("open(path)", "open(path, 'rb')"))):
        rules.write_text(taken(rules, version, sources).text)
    value = load(rules, "toyload.yaml").value
    assert [v for v, about in value["releases"]["toyload"].items() if "read" in about] == ["1.0", "1.1"]
    spans = list(releases.spans(value, "toyload", "loading"))
    assert [v for v in ("1.0", "1.1", "1.2") if any(ruledata.matches(s, v) for s in spans)] == ["1.0", "1.1"]


def test_notes_and_order_stay(rules: Path) -> None:
    text = taken(rules, "1.1").text
    assert text.count("# a note that stays") == 2
    text = intake.with_release(text, "toyload", "1.0.1", {"date": "2026-01-09"})
    assert list(yaml.safe_load(text)["releases"]["toyload"]) == ["1.0", "1.0.1", "1.1"]


def test_a_wheel_is_fetched_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path, "1.4", requires="Requires-Dist: torch>=2\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    package = fetch("toyload", "1.4")
    assert package.version == "1.4"
    assert package.requires == ["torch>=2"]
    assert package.built == "2026-02-03"
    assert "nobody imports this" in package.sources["toyload/boom.py"]
    assert "toyload" not in sys.modules


def test_what_cannot_be_fetched_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(NotFetched, match=r"toyload 9\.9: pip found no wheel"):
        fetch("toyload", "9.9")
    (tmp_path / "broken.whl").write_text("no zip")
    with pytest.raises(NotFetched, match="expected a wheel"):
        opened(tmp_path / "broken.whl", "toyload")


def test_the_command_writes_the_yaml_and_a_report(
    rules: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "RULES", rules.parent)
    path = wheel(rules.parent / "new", "1.1", changed("open(path)", "open(path, 'rb')"))
    arguments = [
        "toyload",
        "1.1",
        "--wheel",
        str(path),
        "--no-verdicts",
        "--report",
        str(rules.parent / "r.md"),
    ]
    assert command.main(arguments) == 0
    said = capsys.readouterr().out
    assert "| loading | `toyload/reading.py` `read` | changed | 1.0 |" in said
    assert (rules.parent / "r.md").read_text() == said
    assert yaml.safe_load(rules.read_text())["releases"]["toyload"]["1.1"] == {
        "date": yaml.safe_load("2026-02-03")
    }
    assert command.main(["nobody", "1.0"]) == 2
    assert command.main([*arguments[:1], "7.7", *arguments[2:]]) == 2
    assert "got 1.1" in capsys.readouterr().err


def test_a_diff_shows_code_and_not_layout(rules: Path) -> None:
    new = opened(
        wheel(rules.parent / "n", "1.1", changed("open(path).read()", "open(path, 'rb').read()  # so")),
        "toyload",
    )
    old = opened(wheel(rules.parent / "o", "1.0"), "toyload")
    lines = list(report.diffs(taken(rules, "1.1", new.sources).changes, old, new))
    assert [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        "-    return open(path).read()",
        "+    return open(path, 'rb').read()",
    ]


def test_a_digest_of_what_is_not_there() -> None:
    assert digest(None, "x") == digest("y = 1", "x") == digest("class A: pass", "A.x") == ABSENT
    assert digest("if True:\n    def x(): ...\n", "x") != ABSENT
    assert digest("x = 1", "x") != digest("x = 2", "x")


# --- the real YAML


@pytest.mark.parametrize("name", ["vllm", "transformers", "peft"])
def test_every_place_is_in_the_newest_release_that_was_looked_at(name: str) -> None:
    data = load(RULES / f"{name}.yaml", name).value
    for package in data["places"]:
        for place in places.of(data, package):
            newest = max(place.seen, key=ruledata.parse_version)
            assert place.seen[newest] != ABSENT, (place.file, place.name, newest)


@pytest.mark.parametrize("name", ["vllm", "transformers", "peft", "unsloth"])
def test_places_are_written_as_they_are_read(name: str) -> None:
    text = (RULES / f"{name}.yaml").read_text()
    data = load(RULES / f"{name}.yaml", name).value
    for package in data["places"]:
        assert places.written(text, package, places.of(data, package)) == text


def packaged(name: str, version: str) -> Package:
    return Package(name, version, {}, [], "", name)


def updated(name: str, table: str, version: str, change: Any) -> registries.Updated:
    """Update one real list to a release that lists what ``change`` makes of today's names."""
    path = RULES / f"{name}.yaml"
    data = load(path, name).value
    [registry] = [r for r in registries.of_package(name) if r.table == table]
    key = "method" if table == "methods" else "names"
    now = registries.holding(data[table], version, key) if isinstance(data[table], list) else set()
    return registry.update(path.read_text(), data, table, change(now), packaged(name, version))


@pytest.mark.parametrize(
    ("name", "table", "version"),
    [
        ("vllm", "architectures", "0.33.0"),
        ("vllm", "methods", "0.33.0"),
        ("vllm", "model_types", "0.33.0"),
        ("transformers", "model_types", "5.23.0"),
    ],
)
def test_a_list_that_says_the_same_leaves_the_file_as_it_is(name: str, table: str, version: str) -> None:
    assert updated(name, table, version, lambda now: now).text == (RULES / f"{name}.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "table", "version", "gone", "key"),
    [
        ("vllm", "methods", "0.99.0", "hqq2", "method"),
        ("vllm", "architectures", "0.99.0", "LlamaForCausalLM", "names"),
        ("vllm", "methods", "0.99.0", "awq", "method"),
        ("transformers", "model_types", "9.0.0", "llama", "names"),
    ],
)
def test_names_hold_from_and_until_the_release_that_changes_them(
    name: str, table: str, version: str, gone: str, key: str
) -> None:
    found = updated(name, table, version, lambda now: now - {gone} | {"brandnew"})
    rows = yaml.safe_load(found.text)[table]
    assert "brandnew" in found.added
    assert "brandnew" in registries.holding(rows, version, key)
    assert gone not in registries.holding(rows, version, key)
    newest = load(RULES / f"{name}.yaml", name).value
    before = max(newest["releases"][name], key=ruledata.parse_version)
    assert "brandnew" not in registries.holding(rows, before, key)
    was = registries.holding(newest[table], before, key)
    assert registries.holding(rows, before, key) == was
    assert found.gone == ([gone] if gone in was else [])


@pytest.mark.parametrize("version", ["0.1.0", "7.0.0"])
def test_the_kinds_of_adapter_are_known_until_the_newest_that_was_read(version: str) -> None:
    found = updated("peft", "types", version, lambda _: {"LORA", "BRANDNEW"})
    table = yaml.safe_load(found.text)["types"]
    newest = max(load(RULES / "peft.yaml", "peft").value["releases"]["peft"], key=ruledata.parse_version)
    assert table["versions"].endswith(f"<={max(version, newest, key=ruledata.parse_version)}")
    assert table["names"].split()[-1] == "BRANDNEW"


def test_the_newest_vllm_is_taken_in_again_to_the_same_file(tmp_path: Path) -> None:
    """Without it, and with it again: its lists are known from the file itself, its digests from the places."""
    path = RULES / "vllm.yaml"
    text, data = path.read_text(), load(path, "vllm").value
    newest = max(data["releases"]["vllm"], key=ruledata.parse_version)
    about = data["releases"]["vllm"][newest]
    less = without(text, data, "vllm", newest)
    assert newest not in yaml.safe_load(less)["releases"]["vllm"]
    bare_file = tmp_path / "vllm.yaml"
    bare_file.write_text(less)
    bare = load(bare_file, "vllm").value
    seen = [
        place._replace(seen={**other.seen, newest: place.seen[newest]})
        for place, other in zip(places.of(data, "vllm"), places.of(bare, "vllm"), strict=True)
    ]
    again = places.written(less, "vllm", seen)
    for registry in registries.of_package("vllm"):
        key = "method" if registry.table == "methods" else "names"
        now = registries.holding(data[registry.table], newest, key)
        again = registry.update(again, bare, registry.table, now, packaged("vllm", newest)).text
    assert intake.with_release(again, "vllm", newest, about) == text


def test_yaml_blocks_are_found_by_their_keys() -> None:
    text = "a:\n  b:\n    x: 1\n    # note\n  c: {}\nd:\n  - 1\n"
    assert yamltext.replaced(text, ["    y: 2"], "a", "b") == "a:\n  b:\n    y: 2\n  c: {}\nd:\n  - 1\n"
    assert yamltext.replaced(text, ["  - 2"], "d").endswith("d:\n  - 2\n")
    with pytest.raises(KeyError):
        yamltext.block(text, "a", "z")
