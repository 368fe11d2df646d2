"""A stand-in for the Hub on loopback that speaks to the real huggingface_hub: info, tree in pages, resolve
with a redirect to another host name, ranges; with latency, failures and bodies that break off on demand."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

_PAGE = 50
"""Files of one page of a listing."""


@dataclass
class Hub:
    """What the stand-in serves and how it misbehaves."""

    root: Path
    """``root/org/name`` are the models."""
    latency: float = 0.0
    failing: float = 0.0
    """Share of requests that fail: 500, 429 with Retry-After, or a body that ends early."""
    ignores_range: bool = False
    redirects: bool = True
    gated: frozenset[str] = frozenset()
    token: str = ""
    """The only token that may read, where one is set."""
    listed: list[dict[str, object]] = field(default_factory=list)
    """Entries that the first page of a listing has besides."""
    renamed: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(path, Range, Authorization) in order."""
    sent: int = 0
    port: int = 0
    random: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.port}"

    def commit(self, repo: str) -> str:
        """Return the one commit of a model: a digest of its name."""
        return hashlib.sha1(repo.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[Hub]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        hub, url = self.hub, urlsplit(self.path)
        hub.requests.append((url.path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        time.sleep(hub.latency)
        chance = hub.random.random()
        if chance < hub.failing / 3:
            return self._json({}, 500)
        if chance < 2 * hub.failing / 3:
            return self._json({}, 429, **{"Retry-After": "0"})
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts[0] == "cdn":
            return self._file(hub.root.joinpath(*parts[1:]), breaks=chance < hub.failing)
        repo = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if self._refused(repo):
            return None
        if parts[0] == "api":
            return self._api(repo, parts[4:], parse_qs(url.query))
        file = hub.root.joinpath(repo, *parts[4:])
        if hub.redirects and file.suffix == ".safetensors":
            where = f"http://localhost:{hub.port}/cdn/{repo}/{'/'.join(parts[4:])}"
            return self._json({}, 302, Location=where)
        return self._file(file, breaks=chance < hub.failing)

    def _refused(self, repo: str) -> bool:
        """Answer what the Hub answers for a model that may not be read; return whether it is one."""
        hub = self.hub
        if repo in hub.renamed:
            target = self.path.replace(repo, hub.renamed[repo], 1)
            self._json({}, 307, Location=target)
        elif not (hub.root / repo).is_dir() or (
            hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}"
        ):
            self._json({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
        elif repo in hub.gated:
            self._json({"error": "gated"}, 403, **{"X-Error-Code": "GatedRepo"})
        else:
            return False
        return True

    def _api(self, repo: str, rest: list[str], query: dict[str, list[str]]) -> None:
        hub = self.hub
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", "v1", hub.commit(repo)):
            return self._json({}, 404, **{"X-Error-Code": "RevisionNotFound"})
        if not rest or rest[0] == "revision":
            return self._json({"id": repo, "sha": hub.commit(repo), "siblings": [], "tags": []})
        files = sorted(path for path in (hub.root / repo).rglob("*") if path.is_file())
        first = int(query.get("cursor", ["0"])[0])
        links = {}
        if first + _PAGE < len(files):
            here = f"{hub.url}/api/models/{repo}/tree/{revision}?recursive=true&cursor={first + _PAGE}"
            links["Link"] = f'<{here}>; rel="next"'
        page = [self._entry(path, hub.root / repo) for path in files[first : first + _PAGE]]
        return self._json([*(hub.listed if first == 0 else ()), *page], **links)

    @staticmethod
    def _entry(path: Path, root: Path) -> dict[str, object]:
        size = path.stat().st_size
        entry: dict[str, object] = {
            "type": "file",
            "path": str(path.relative_to(root)),
            "size": size,
            "oid": "0" * 40,
        }
        if path.suffix == ".safetensors":
            entry["lfs"] = {"oid": "f" * 64, "size": size, "pointerSize": 134}
            entry["xetHash"] = "e" * 64
        return entry

    def _file(self, file: Path, *, breaks: bool) -> None:
        if not file.is_file():
            return self._json({}, 404, **{"X-Error-Code": "EntryNotFound"})
        size, asked = file.stat().st_size, self.headers.get("Range", "")
        first, last = 0, size - 1
        if asked and not self.hub.ignores_range:
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(size - 1, int(end or size - 1))
            if first >= size:
                return self._json({}, 416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with file.open("rb") as handle:
            handle.seek(first)
            left = last - first + 1
            self.close_connection = breaks
            while left:
                chunk = handle.read(min(65_536, left, max(1, left // 2) if breaks else left))
                try:
                    self.wfile.write(chunk)
                except OSError:
                    return None
                self.hub.sent += len(chunk)
                left -= len(chunk)
                if breaks:
                    return None
        return None

    def _json(self, body: object, status: int = 200, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            **headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` on loopback for the time of the block."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
