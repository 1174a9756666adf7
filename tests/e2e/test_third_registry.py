"""A registry that filingd does not ship, from nothing to a mirror: the toy of `museum`, through the real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parent.parent
VISITOR = "0123456789abcdef0123456789abcdef"
OBJECTS = 30
LOST, SHY = 13, 21  # there is none of that number; asks for patience twice


class Building(ThreadingHTTPServer):
    """A museum on loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Desk)
        self.visits: Counter[int] = Counter()
        self.keys: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Desk(BaseHTTPRequestHandler):
    """Shows one object."""

    server: Building
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        number = int(self.path.removeprefix("/objects/").removesuffix(".json"))
        self.server.visits[number] += 1
        self.server.keys.add(self.headers.get("X-Visitor"))
        if number == LOST:
            self._answer(HTTPStatus.NOT_FOUND, b"")
        elif number == SHY and self.server.visits[number] <= 2:
            self._answer(HTTPStatus.TOO_MANY_REQUESTS, b"", ("Retry-After", "1"))
        else:
            self._answer(HTTPStatus.OK, json.dumps({"object": number}).encode())

    def _answer(self, status: HTTPStatus, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Visits are counted, not told."""


@pytest.fixture
def building() -> Iterator[Building]:
    made = Building()
    serving = Thread(target=made.serve_forever, args=(0.05,))
    serving.start()
    yield made
    made.shutdown()
    serving.join()
    made.server_close()


def _filingd(building: Building, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    config = folder / "filingd.toml"
    config.write_text('[store]\npath = "store"\nkeep_free = "0 B"\n')
    environment = {
        "PYTHONPATH": str(TESTS),
        "MUSEUM_URL": building.url,
        "MUSEUM_OBJECTS": str(OBJECTS),
        "MUSEUM_KEY": VISITOR,
    }
    command = [sys.executable, "-m", "museum.daemon", *words, "--config", str(config)]
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_third_registry_is_mirrored_verified_found_and_rebuilt(building: Building, tmp_path: Path) -> None:
    store = tmp_path / "store"
    ran = _filingd(building, tmp_path, "run", "--until-idle")
    assert ran.returncode == 0, ran.stderr
    held = {path.name: json.loads(path.read_text()) for path in (store / "museum" / "objects").iterdir()}
    assert held == {
        f"{number}.json": {"object": number} for number in range(1, OBJECTS + 1) if number != LOST
    }
    assert building.visits.total() == OBJECTS + 2, "each object once, and the shy one twice more"
    assert building.keys == {VISITOR}

    assert _filingd(building, tmp_path, "run", "--until-idle").returncode == 0
    assert building.visits.total() == OBJECTS + 2, "what is had is not asked for again"
    listed = json.loads(_filingd(building, tmp_path, "items", "list", "--json", "--state", "absent").stdout)
    assert [item["key"] for item in listed["items"]] == [f"museum/objects/{LOST}"]
    told = _filingd(building, tmp_path, "changes").stdout.splitlines()
    assert len([line for line in told if json.loads(line)["kind"] == "stored"]) == OBJECTS - 1
    assert _filingd(building, tmp_path, "verify").returncode == 0
    assert _filingd(building, tmp_path, "status").returncode == 0

    for path in store.glob("manifest.db*"):
        path.unlink()
    assert _filingd(building, tmp_path, "manifest", "rebuild").returncode == 0
    assert _filingd(building, tmp_path, "run", "--until-idle").returncode == 0
    assert building.visits.total() == OBJECTS + 3, "only what is not there has to be asked for"
    assert VISITOR not in "".join(
        path.read_text(errors="replace") for path in store.rglob("*") if path.is_file()
    )
