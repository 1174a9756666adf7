"""`filingd demo`, as a newcomer runs it: real processes, real sockets, and everything it prints has to be true."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from filingd.cli.demo import INSTANT, _write_config
from filingd.settings import load
from support.catalogue import check_catalogue
from support.daemon import StoreView, wait_until

pytestmark = pytest.mark.slow
FILINGD = Path(sys.executable).with_name("filingd")
MINUTE_S = 60.0


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FILINGD), "demo", "--store", "demo-store", *options],
        cwd=folder, capture_output=True, text=True, check=False, timeout=3 * MINUTE_S,
    )  # fmt: skip


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work for a demo in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            is_here = (process / "cwd").readlink() == folder
        except OSError:
            continue
        if is_here and "filingd" in arguments:
            found.append(arguments)
    return found


def test_45_days_are_sealed_within_a_minute_and_a_second_run_downloads_nothing(tmp_path: Path) -> None:
    began_s = time.monotonic()
    first = demo(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert time.monotonic() - began_s < MINUTE_S
    store = StoreView(tmp_path / "demo-store")
    assert len(store.sealed_days()) == 45
    store.check_sums(store.sealed_days())
    check_catalogue(store)
    assert "90 of 90 days sealed" in first.stdout
    assert "nbb/improved   2026-10-06 to 2026-11-19, 45 days" in first.stdout
    assert "nbb/authentic   2026-10-06 to 2026-11-19, 45 days" in first.stdout
    assert re.search(r"The registry's journal: \d{3} requests, .* no key in any URL\.", first.stdout)
    assert {"extract", "authentic-archive"} <= {
        version["route"].partition("/")[0]
        for key, row in store.items().items() if row.state == "stored" and key.startswith("nbb/")
        for version in store.versions(*key.split("/")[2:])
    }  # fmt: skip

    printed = [
        line.strip() for line in first.stdout.splitlines() if line.startswith("  ") and "demo-store" in line
    ]
    assert len(printed) == 6
    said = [subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
            for command in printed]  # fmt: skip
    assert [done.returncode for done in said] == [0] * 6, [done.stderr for done in said]
    assert "json.zip: OK" in said[0].stdout
    assert said[1].stdout.count(" S") >= 30
    assert "all of it is sound" in said[2].stdout
    assert said[3].stdout in first.stdout, "a company is found, as the command finds it"
    assert "99000011  Voorbeeld Molenbouw B.V.  [demo]" in said[5].stdout, "and so is a Dutch one"
    assert "95 companies found, complete" in said[5].stdout
    assert re.search(r"kvk/demo, 2026-11: \d+ calls and \d\.\d\d EUR spent, \d\.\d\d EUR left", first.stdout)
    document = json.loads(said[4].stdout)
    assert f'"ReferenceNumber": "{document["ReferenceNumber"]}"' in first.stdout
    assert document["ReferenceNumber"] in said[3].stdout

    second = demo(tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "0 downloads: nothing is fetched twice." in second.stdout
    assert processes_of(tmp_path) == []


def test_ctrl_c_ends_it_and_its_processes_in_order_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [str(FILINGD), "demo", "--days", "45"], cwd=tmp_path, stdout=said, stderr=said
        )
    log = tmp_path / "demo-store" / "log" / "filingd.jsonl"
    wait_until(lambda: log.exists() and b'"item.stored"' in log.read_bytes(), "stored file")
    process.send_signal(signal.SIGINT)
    assert process.wait(MINUTE_S) == 130
    assert processes_of(tmp_path) == []
    assert b'"daemon.stopped"' in log.read_bytes().splitlines()[-1]
    assert "Traceback" not in (tmp_path / "said").read_text()
    stored = {key for key, row in StoreView(tmp_path / "demo-store").items().items() if row.state == "stored"}
    again = demo(tmp_path, "--days", "45")
    assert again.returncode == 0, again.stdout + again.stderr
    everything = {
        key for key, row in StoreView(tmp_path / "demo-store").items().items() if row.state == "stored"
    }
    fetched = re.search(r"^(\d+) files, ", again.stdout, re.MULTILINE)
    assert fetched is not None
    assert int(fetched[1]) == len(everything - stored)


def test_a_killed_demo_leaves_no_registry_behind(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [str(FILINGD), "demo", "--days", "45"], cwd=tmp_path, stdout=said, stderr=said
        )
    log = tmp_path / "demo-store" / "log" / "filingd.jsonl"
    wait_until(lambda: log.exists() and b'"item.stored"' in log.read_bytes(), "stored file")
    process.kill()
    process.wait()
    wait_until(lambda: not processes_of(tmp_path), "end of its processes")


def test_a_folder_that_is_no_demo_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "demo-store").mkdir()
    (tmp_path / "demo-store" / "thesis.txt").write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 4
    assert "is not empty and is not the store of a demo" in done.stderr
    assert [path.name for path in (tmp_path / "demo-store").iterdir()] == ["thesis.txt"]


def test_a_daemon_that_cannot_run_is_told_with_the_place_of_its_log(tmp_path: Path) -> None:
    store = tmp_path / "demo-store"
    store.mkdir()
    (store / "demo.toml").touch()
    (store / "manifest.db").write_bytes(b"not a database" * 100)
    done = demo(tmp_path)
    assert done.returncode == 1
    assert "The daemon ended with exit code 4" in done.stderr
    assert "filingd manifest rebuild" in done.stderr
    assert str(store / "log" / "filingd.jsonl") in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(tmp_path) == []


def test_the_configuration_it_writes_is_the_shipped_one_with_this_runs_values(tmp_path: Path) -> None:
    config = _write_config(tmp_path, 10, "http://127.0.0.1:1234")
    settings = load(config)
    assert settings.nbb is not None
    assert (settings.store.path, settings.nbb.base_url) == (tmp_path, "http://127.0.0.1:1234")
    assert settings.nbb.since.isoformat() == "2026-11-10"
    assert INSTANT.startswith("2026-11-20")
