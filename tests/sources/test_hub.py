"""Checkpoints on the Hub, through the real huggingface_hub, against a stand-in on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptdoctor import ruledata
from ckptdoctor.engine import check_source
from ckptdoctor.model import Report
from ckptdoctor.render.json import as_dict
from ckptdoctor.sources import open_source
from ckptdoctor.sources.base import Span, Unavailable
from ckptdoctor.sources.hub.listing import HubError
from ckptdoctor.sources.hub.names import HubName, hub_name
from ckptdoctor.sources.hub.source import HubSource
from ckptdoctor.targets import default_targets

from ..support.hub import Hub, serving

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sound"
TOKEN = "hf_SecretThatMustNotBeSeen"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (tmp_path / "org").mkdir()
    for fixture in FIXTURES.iterdir():
        (tmp_path / "org" / fixture.name).symlink_to(fixture)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with serving(Hub(tmp_path)) as served:
        yield served


def opened(hub: Hub, name: str, revision: str | None = None) -> HubSource:
    return HubSource(HubName(f"org/{name}", revision), hub.url)


def report(source: object) -> Report:
    rulebook = ruledata.load()
    return check_source(source, default_targets(rulebook), rulebook)  # type: ignore[arg-type]


def comparable(report: Report) -> dict[str, object]:
    """What must be alike here and there: all but where it was read, and how much."""
    shown = as_dict(report)
    for verdict in shown["verdicts"]:
        del verdict["sampled"]
    return {key: value for key, value in shown.items() if key not in ("target", "revision", "bytes_read")}


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())[::6])
def test_the_report_is_that_of_the_directory(hub: Hub, name: str) -> None:
    remote = report(opened(hub, name))
    assert remote.revision == hub.commit(f"org/{name}")
    assert comparable(remote) == comparable(report(open_source(FIXTURES / name)))


def test_it_is_the_same_where_one_request_in_four_fails(hub: Hub) -> None:
    hub.failing = 0.25
    name = "llama-bf16-sharded"
    assert comparable(report(opened(hub, name))) == comparable(report(open_source(FIXTURES / name)))
    assert len(hub.requests) > 8


def test_no_more_is_asked_for_than_is_needed(hub: Hub) -> None:
    checked = report(opened(hub, "llama-bf16-sharded"))
    shards = len(list((FIXTURES / "llama-bf16-sharded").glob("*.safetensors")))
    resolved = [path for path, _, _ in hub.requests if "/resolve/" in path]
    documents = len([path for path in resolved if not path.endswith(".safetensors")])
    assert len(resolved) <= shards + documents
    assert len(hub.requests) == 2 + len(resolved) + shards  # info, tree, files, and a redirect for each shard
    assert hub.sent == checked.bytes_read.headers + checked.bytes_read.json + checked.bytes_read.micro


def test_a_listing_in_pages_is_read_to_its_end(hub: Hub) -> None:
    many = hub.root / "org" / "many"
    many.mkdir()
    for number in range(120):
        (many / f"notes-{number:03}.txt").write_text("x")
    assert len(opened(hub, "many").entries()) == 120


def test_no_entry_leads_out_of_the_model_and_what_tools_leave_is_no_file_of_it(hub: Hub) -> None:
    for path in (
        "../../etc/passwd",
        "/etc/passwd",
        "a//b",
        "a/./b",
        ".git/config",
        ".ckptdoctor/journal",
        "a/b/c/d",
    ):
        hub.listed.append({"type": "file", "path": path, "size": 3, "oid": "0" * 40})
    hub.listed.append({"type": "directory", "path": "more", "oid": "0" * 40})
    there = {str(path.relative_to(FIXTURES / "llama-nf4")) for path in (FIXTURES / "llama-nf4").rglob("*.*")}
    assert set(opened(hub, "llama-nf4").entries()) == there


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub: Hub) -> None:
    report(opened(hub, "llama-bf16-sharded"))
    there = {token for path, _, token in hub.requests if not path.startswith("/cdn/")}
    elsewhere = {token for path, _, token in hub.requests if path.startswith("/cdn/")}
    assert there == {f"Bearer {TOKEN}"}
    assert elsewhere == {""}


def test_a_server_that_ignores_ranges_sends_no_whole_shard(hub: Hub) -> None:
    hub.ignores_range = True
    big = hub.root / "org" / "big"
    big.mkdir()
    with (big / "model.safetensors").open("wb") as file:
        file.truncate(200_000_000)
    source = opened(hub, "big")
    [head] = source.read_many([Span("model.safetensors", 0, 1000)])
    assert head == bytes(1000)
    [far] = source.read_many([Span("model.safetensors", 150_000_000, 10)])
    assert isinstance(far, Unavailable)
    assert "ignores Range" in str(far)
    assert hub.sent < 20_000_000


def test_spans_come_back_in_order_and_neighbours_in_one_request(hub: Hub) -> None:
    source, name = opened(hub, "llama-nf4"), "model.safetensors"
    whole = (FIXTURES / "llama-nf4" / name).read_bytes()
    spans = [
        Span(name, 5000, 10),
        Span(name, 0, 8),
        Span("no.json", 0, 4),
        Span(name, len(whole) - 3, 50),
        Span(name, 7, 0),
    ]
    before = len(hub.requests)
    got = source.read_many(spans)
    assert got[:2] == [whole[5000:5010], whole[:8]]
    assert got[3:] == [whole[-3:], b""]
    assert isinstance(got[2], Unavailable)
    assert len([path for path, _, _ in hub.requests[before:] if "/resolve/" in path]) == 2


@pytest.mark.parametrize(
    ("name", "revision", "said"),
    [
        ("missing", None, "no such directory here and no such model"),
        ("gated", None, "is gated: accept its terms"),
        ("llama-nf4", "v99", "has no revision 'v99'"),
    ],
)
def test_what_the_hub_refuses_is_said_with_a_way_out(
    hub: Hub, name: str, revision: str | None, said: str
) -> None:
    hub.gated = frozenset({"org/gated"})
    (hub.root / "org" / "gated").mkdir()
    with pytest.raises(HubError, match=said) as caught:
        opened(hub, name, revision)
    assert TOKEN not in str(caught.value)


def test_nobody_there_is_said(hub: Hub) -> None:
    with pytest.raises(HubError, match="cannot be reached"):
        HubSource(HubName("org/llama-nf4", None), "http://127.0.0.1:9")


def test_a_model_that_was_renamed_is_read_under_its_new_name(hub: Hub) -> None:
    hub.renamed = {"org/old": "org/llama-nf4"}
    assert opened(hub, "old").label == "org/llama-nf4"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("org/name", HubName("org/name", None)),
        ("org/name@refs/pr/3", HubName("org/name", "refs/pr/3")),
        ("hf://gpt2", HubName("gpt2", None)),
        ("hf://org/name@main", HubName("org/name", "main")),
        ("https://huggingface.co/org/name", HubName("org/name", None)),
        ("https://huggingface.co/org/name/tree/refs/pr/1?x=1", HubName("org/name", "refs/pr/1")),
        ("gpt2", None),
        ("./org/name", None),
        ("../org/name", None),
        ("/org/name", None),
        ("org/name/more", None),
        ("org/name/", None),
        ("org/..", None),
        ("org/model.safetensors", None),
        ("fixtures/soud", None),
        ("https://example.com/org/name", None),
        ("hf://org/na me", None),
        ("hf://datasets/org/name", None),
    ],
)
def test_only_what_can_be_no_path_names_a_model(text: str, named: HubName | None) -> None:
    assert hub_name(text) == named


def cli(hub: Hub, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ckptdoctor", *arguments],
        env={**os.environ, "HF_ENDPOINT": hub.url, **env}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_line_checks_a_model_and_pins_its_commit(hub: Hub) -> None:
    done = cli(hub, "check", "org/llama-nf4@v1", "--format", "json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["target"], shown["revision"]) == ("org/llama-nf4", hub.commit("org/llama-nf4"))
    assert TOKEN not in done.stdout + done.stderr


def test_an_adapter_on_the_hub_is_checked_with_its_base_there(hub: Hub) -> None:
    done = cli(hub, "check", "org/llama-lora", "--base", "org/llama-nf4", "--format", "json")
    [first, *_] = json.loads(done.stdout)["verdicts"]
    assert done.returncode == 0
    assert (first["loader"], first["outcome"]) == ("peft", "ok")


def test_what_is_not_there_is_one_line_and_status_3(hub: Hub) -> None:
    done = cli(hub, "check", "org/nothing")
    assert done.returncode == 3
    assert "no such model" in done.stdout
    assert "Traceback" not in done.stderr
    assert cli(hub, "check", "./org/llama-nf4").returncode == 2
    assert "hf://llama" in cli(hub, "check", "llama").stderr
    assert "HF_HUB_OFFLINE" in cli(hub, "check", "org/llama-nf4", HF_HUB_OFFLINE="1").stdout
