"""`filingd doctor` as a process against a sandbox, with each thing broken in turn; what it says, asks and leaves behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema
import pytest

from e2e.rig import Rig, SandboxPool, seconds_between
from filingd.cli.doctor import schema
from filingd.registries.nbb.routes import DEFAULT_OPERATIONS
from filingd.sandbox.clock import utc_text
from support.daemon import SANDBOX_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


ALL_PRODUCTS = tuple(SANDBOX_KEYS)
PATHS = {(product, operation.path) for (product, _), operation in DEFAULT_OPERATIONS.items()}


class Told(NamedTuple):
    """How a doctor ended and what it found."""

    code: int
    findings: list[dict[str, str]]
    text: str

    def of(self, outcome: str) -> list[tuple[str, str]]:
        """The findings of this outcome, by check and subject."""
        return [(each["check"], each["subject"]) for each in self.findings if each["outcome"] == outcome]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxPool]:
    pool = SandboxPool(tmp_path_factory.mktemp("sandboxes"))
    yield pool
    pool.close()


@pytest.fixture
def rig(tmp_path: Path, pool: SandboxPool) -> Iterator[Rig]:
    made = Rig(tmp_path, pool, since="2026-11-18")
    made.config.products = ALL_PRODUCTS
    made.config.change({"nbb": {"products": {name: {"calls_per_second": 50.0} for name in ALL_PRODUCTS}}})
    yield made
    made.close()


def ask(rig: Rig, *options: str, at: float | None = None, environment: dict[str, str] | None = None) -> Told:
    """Run it, on the sandbox's clock, and hold its answer against its schema; no key is in anything it prints."""
    rig.config.write()
    command = [
        sys.executable,
        "-m",
        "filingd",
        "doctor",
        "--config",
        str(rig.config.path),
        "--json",
        *options,
    ]
    command += ["--rehearse-at", utc_text(rig.admin.clock() if at is None else at)]
    known = {**os.environ, **rig.config.environment(), **(environment or {})}
    ended = subprocess.run(command, capture_output=True, check=False, env=known, text=True, timeout=60)
    assert ended.stderr == ""
    for secret in rig.config.secrets():
        assert secret not in ended.stdout
    report: dict[str, Any] = json.loads(ended.stdout)
    jsonschema.validate(report, schema())
    assert report["is_well"] == (ended.returncode == 0)
    for each in report["findings"]:
        assert each["remedy"] or each["outcome"] != "problem", each
    return Told(ended.returncode, report["findings"], ended.stdout)


def test_with_nothing_wrong_every_key_and_path_is_asked_once_and_nothing_stays(rig: Rig) -> None:
    rig.store.root.mkdir(mode=0o750)
    told = ask(rig)
    assert (told.code, told.of("problem"), told.of("skipped")) == (0, [], [])
    checks = [each["check"] for each in told.findings]
    journal = rig.journal()
    assert {entry["status"] for entry in journal} == {415}
    asked = {(entry["product"], entry["path"].split("?")[0]) for entry in journal}
    assert len(asked) == checks.count("path") == len(PATHS), "each path of the route table"
    assert checks.count("key") == 2 * len(ALL_PRODUCTS)
    assert len(journal) == len({(entry["path"], entry["product"]) for entry in journal})
    assert {(entry["product"], entry["slot"]) for entry in journal} == {
        (product, slot) for product in ALL_PRODUCTS for slot in ("primary", "secondary")
    }
    assert {"clock", "network", "time zone", "disk", "write", "log", "manifest", "daemon"} <= set(checks)
    assert [path.name for path in rig.store.root.iterdir()] == ["lock"]


def test_its_calls_keep_the_configured_pace(rig: Rig) -> None:
    rig.config.products = ("extract", "authentic-query")
    rig.config.change(
        {
            "nbb": {
                "products": {
                    "extract": {"calls_per_second": 2.0},
                    "authentic-query": {"calls_per_second": 2.0},
                }
            }
        }
    )
    rig.config.changes["nbb"]["products"] = {
        name: known
        for name, known in rig.config.changes["nbb"]["products"].items()
        if name in rig.config.products
    }
    ask(rig)
    for product in rig.config.products:
        entries = rig.journal(product=product)
        assert len(entries) == max(2, sum(owner == product for owner, _ in PATHS))
        assert min(seconds_between(entries)) > 0.45


def _wrong_path(rig: Rig) -> None:
    rig.config.change({"nbb": {"paths": {"extract": {"references": {"path": "/extracts/{date}/list"}}}}})


def _no_second_key(rig: Rig) -> None:
    rig.admin.revoke_key("improved", "secondary")


def _key_file_missing(rig: Rig) -> None:
    rig.config.change(
        {"nbb": {"products": {"extract": {"keys": ["file:/nowhere/key", "env:FILINGD_TEST_EXTRACT_2"]}}}}
    )


def _firewall(rig: Rig) -> None:
    rig.admin.add_fault({"kind": "status", "status": 403, "family": 3}, product="extract")


def _quota(rig: Rig) -> None:
    rig.admin.settings(limits={"extract": {"quota_calls": 1, "quota_window_s": 7200}})
    rig.config.products = ("extract",)
    rig.config.changes["nbb"]["products"] = {"extract": {"calls_per_second": 50.0}}
    ask(rig)


def _service_down(rig: Rig) -> None:
    rig.admin.add_fault({"kind": "status", "status": 502, "family": 3}, product="authentic-archive")


def _door_closed(rig: Rig) -> None:
    rig.admin.listening(open_door=False)


def _no_room(rig: Rig) -> None:
    rig.store.root.mkdir(mode=0o750)
    rig.config.change({"store": {"keep_free": "900 TiB"}})


def _store_is_a_file(rig: Rig) -> None:
    rig.store.root.write_text("no folder")


def _manifest_is_rubbish(rig: Rig) -> None:
    rig.store.root.mkdir(mode=0o750)
    (rig.store.root / "manifest.db").write_bytes(b"rubbish" * 1000)


def _log_is_a_folder(rig: Rig) -> None:
    (rig.config.folder / "log.jsonl").mkdir()
    rig.config.change({"log": {"path": str(rig.config.folder / "log.jsonl")}})


def _log_is_a_pipe(rig: Rig) -> None:
    os.mkfifo(rig.config.folder / "log.jsonl")
    rig.config.change({"log": {"path": str(rig.config.folder / "log.jsonl")}})


def _name_unknown(rig: Rig) -> None:
    rig.config.base_url = "https://nowhere.invalid"


def _proxy_closed(rig: Rig) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        rig.config.change({"http": {"proxy": f"http://127.0.0.1:{free.getsockname()[1]}"}})


def _certificates_missing(rig: Rig) -> None:
    rig.config.change({"http": {"ca_bundle": "/nowhere/bundle.pem"}})


BROKEN: dict[str, tuple[Callable[[Rig], None], str, str, str]] = {
    "a path": (_wrong_path, "path", "nbb/extract /extracts/{date}/list", "[nbb.paths.extract]"),
    "a revoked key": (_no_second_key, "key", "nbb/improved key 2 (env:FILINGD_TEST_IMPROVED_2)", "portal"),
    "a key file": (_key_file_missing, "key", "nbb/extract (file:/nowhere/key)", "Put the key there"),
    "the user agent": (_firewall, "service", "extract", "user_agent"),
    "the quota": (_quota, "service", "extract", "order more"),
    "the service": (_service_down, "service", "authentic-archive", "later"),
    "the connection": (_door_closed, "service", "extract", "proxy"),
    "the room": (_no_room, "disk", "", "keep_free"),
    "the store": (_store_is_a_file, "store", "", "folder"),
    "the manifest": (_manifest_is_rubbish, "manifest", "", "manifest rebuild"),
    "the log": (_log_is_a_folder, "log", "", "[log] path"),
    "a pipe for a log": (_log_is_a_pipe, "log", "", "[log] path"),
    "the name": (_name_unknown, "network", "nowhere.invalid", "resolv.conf"),
    "the certificates": (_certificates_missing, "calls", "nbb", "PEM file"),
    "the proxy": (_proxy_closed, "service", "extract", "proxy"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_with_its_remedy(rig: Rig, name: str) -> None:
    break_it, check, subject, remedy = BROKEN[name]
    rig.config.folder.mkdir(exist_ok=True, parents=True)
    break_it(rig)
    told = ask(rig)
    assert told.code == 1
    found = [each for each in told.findings if each["outcome"] == "problem" and each["check"] == check]
    assert [each for each in found if subject in each["subject"] and remedy in each["remedy"]], told.text


def test_a_key_whose_path_is_wrong_is_proven_by_another_path(rig: Rig) -> None:
    _wrong_path(rig)
    told = ask(rig)
    assert told.of("problem") == [("path", "nbb/extract /extracts/{date}/list")]
    assert ("key", "nbb/extract key 1 (env:FILINGD_TEST_EXTRACT_1)") in told.of("ok")


def test_a_firewall_is_not_asked_again_and_says_nothing_of_the_keys(rig: Rig) -> None:
    _firewall(rig)
    told = ask(rig)
    assert len(rig.journal(product="extract")) == 1
    assert ("key", "nbb/extract key 1 (env:FILINGD_TEST_EXTRACT_1)") in told.of("skipped")


def test_a_clock_that_is_wrong_is_found(rig: Rig) -> None:
    told = ask(rig, at=rig.admin.clock() - 3600.0)
    assert ("clock", "registry") in told.of("problem")
    assert any("3600 s behind" in each["detail"] or "3599 s behind" in each["detail"] or "3601 s" in each["detail"]
               for each in told.findings if each["check"] == "clock")  # fmt: skip


def test_offline_it_makes_no_call(rig: Rig) -> None:
    told = ask(rig, "--offline")
    assert (told.code, told.of("skipped")) == (0, [("calls", "nbb")])
    assert rig.journal() == []


def test_beside_a_daemon_it_asks_nothing_unless_told_to(rig: Rig) -> None:
    with rig.daemon() as daemon:
        for day in ("2026-11-18", "2026-11-19"):
            daemon.wait_for("day.sealed", group=f"nbb/authentic/{day}")
            daemon.wait_for("day.sealed", group=f"nbb/improved/{day}")
        before = len(rig.journal(status=415))
        told = ask(rig)
        assert (told.code, told.of("skipped")) == (0, [("calls", "nbb")])
        assert any("filingd run works on it" in each["detail"] for each in told.findings)
        assert len(rig.journal(status=415)) == before == 0
        assert ask(rig, "--probe").of("skipped") == []
        assert len(rig.journal(status=415)) == len(PATHS)
        assert daemon.stop().code == 0


def test_a_configuration_that_is_wrong_is_the_one_finding_and_has_its_own_exit_code(rig: Rig) -> None:
    rig.config.change({"nbb": {"sinse": "2026-01-01"}})
    told = ask(rig)
    assert told.code == 3
    (finding,) = told.findings
    assert "sinse" in finding["detail"]


def test_for_people_it_is_one_line_each_with_a_last_word(rig: Rig) -> None:
    _wrong_path(rig)
    rig.config.write()
    command = [sys.executable, "-m", "filingd", "doctor", "--config", str(rig.config.path)]
    command += ["--rehearse-at", utc_text(rig.admin.clock())]
    ended = subprocess.run(command, capture_output=True, check=False, text=True,
                           env={**os.environ, **rig.config.environment()}, timeout=60)  # fmt: skip
    *lines, last = ended.stdout.splitlines()
    assert {line[:4] for line in lines} <= {"ok  ", "note", "BAD ", "-   "}
    assert [line for line in lines if line.startswith("BAD  path")]
    assert last.startswith("1 of ")
