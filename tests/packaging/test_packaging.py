"""What users install: the wheel carries the compiled rulebook, the sdist the rules, an editable install finds them."""

from __future__ import annotations

import email
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ckptdoctor import ruledata
from ckptdoctor._version import __version__

from ..conftest import ROOT

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def build(tree: Path, out: Path, *kinds: str) -> None:
    """Build distributions of ``tree`` with the tools of this environment (no network)."""
    run(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", out, tree, cwd=out)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out, "--sdist")
    [archive] = out.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(out, filter="data")
    [tree] = [path for path in out.iterdir() if path.is_dir()]
    build(tree, out, "--wheel")
    return out


def environment(folder: Path) -> Path:
    """Make a virtual environment that borrows this one's packages, and return its python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=folder).strip()
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    Path(site, "borrowed.pth").write_text("\n".join(borrowed))
    return python


def test_sdist_has_the_sources_and_no_more(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"rules/card.schema.json", "hatch_build.py", "LICENSE", "README.md", "pyproject.toml"} <= names
    assert not [
        name
        for name in names
        if name.startswith(("tests", "fixtures", ".", "bench")) and name != ".gitignore"
    ]
    assert not [name for name in names if "_rulebook" in name or "__pycache__" in name]


def test_wheel_carries_the_compiled_rulebook(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        hot = json.loads(wheel.read("ckptdoctor/_rulebook/hot.json"))
        metadata = email.message_from_bytes(wheel.read(f"ckptdoctor-{__version__}.dist-info/METADATA"))
    assert hot["digest"] == ruledata.load().digest
    assert not [name for name in names if name.startswith(("rules", "tests")) or name.endswith(".yaml")]
    assert sum(name.startswith("ckptdoctor/_rulebook/architectures/") for name in names) == len(
        list((ROOT / "rules" / "architectures").glob("*.yaml"))
    )
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"


def test_wheel_runs_without_the_repository(dist: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    [wheel] = dist.glob("*.whl")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=tmp_path,
    )
    code = (
        "import sys, ckptdoctor.ruledata as r; b = r.load(); print(b.digest, b.prose(b.cards[0].id)['summary'] != '',"
        "len(b.patterns()) > 0, 'yaml' in sys.modules, r.store._folder().endswith('_rulebook'))"
    )
    assert run(python, "-I", "-c", code, cwd=tmp_path).split() == [
        *(ruledata.load().digest, "True", "True", "False", "True")
    ]
    assert (
        run(tmp_path / "env" / "bin" / "ckptdoctor", "--version", cwd=tmp_path).strip().endswith(__version__)
    )


def test_editable_install_finds_the_rules(tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    options = ("-q", "--no-deps", "--no-index", "--no-build-isolation", "-e", ROOT)
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, cwd=tmp_path)
    code = "import ckptdoctor.ruledata as r; print(r.load().digest, r.store._RULES)"
    assert run(python, "-I", "-c", code, cwd=tmp_path).split() == [
        ruledata.load().digest,
        str(ROOT / "rules"),
    ]


def test_the_default_install_is_small(dist: Path, tmp_path: Path) -> None:
    """What `pip install ckptdoctor` brings takes at most 30 MB, checks a checkpoint, and says what own rules need."""
    env = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", env, cwd=tmp_path)
    [wheel] = dist.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", env / "bin" / "python", "install", "-q", wheel]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index here")
    assert done.returncode == 0, done.stderr[-3000:]
    installed = [path for path in env.rglob("*") if path.is_file() and not path.is_symlink()]
    megabytes = sum(path.stat().st_size for path in installed) / 1e6
    assert 1 < megabytes <= 30, f"{megabytes:.1f} MB"

    command = [env / "bin" / "ckptdoctor", "check", ROOT / "fixtures" / "sound" / "llama-nf4"]
    assert " ok " in run(*command, cwd=tmp_path)
    (tmp_path / "house").mkdir()
    settings = tmp_path / "ckptdoctor.toml"
    settings.write_text('rules = ["./house"]\n')
    needs_toml = sys.version_info < (3, 11)  # then the settings file itself needs a parser
    done = subprocess.run(
        [*map(str, command), "--config", str(settings)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert ("tomli" if needs_toml else "pip install 'ckptdoctor[rules]'") in done.stderr
    assert "Traceback" not in done.stderr
