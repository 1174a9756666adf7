"""`filingd sandbox` as an operator and as other suites meet it: a real process and its administration."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import json
import re
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from support.raw_http import REFERENCES, Reply, ask
from support.sandbox import Admin, AdminError, SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = "/extracts/batch/2026-11-19/references"


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxProcess]:
    with SandboxProcess(clock="2026-11-20T12:30", scale=0.01) as started:
        yield started


@pytest.fixture
def admin(running: SandboxProcess) -> Iterator[Admin]:
    running.admin.clock_set("2026-11-20T12:30")
    running.admin.clear_journal()
    yield running.admin
    running.admin.clear_faults()


def get(sandbox: SandboxProcess, path: str = DAY, key: str = "1" * 32, accept: str = REFERENCES) -> Reply:
    return asyncio.run(ask(sandbox.base_url, path, key=key, accept=accept, patience_s=60.0))


def filingd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "filingd", "sandbox", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# --- administration ---


def test_the_clock_is_set_and_advanced_and_the_windows_follow(running: SandboxProcess, admin: Admin) -> None:
    assert get(running).status == 200
    admin.clock_set("2026-11-20T04:59")
    assert get(running).status == 404
    admin.clock_advance(60)
    assert get(running).status == 200
    admin.clock_advance(40 * 86_400)
    assert get(running).status == 404


def test_rules_come_and_go_and_count_what_they_did(running: SandboxProcess, admin: Admin) -> None:
    rule = admin.add_fault({"kind": "status", "status": 502}, product="extract", times=2)
    assert [get(running).status for _ in range(3)] == [502, 502, 200]
    counters = {entry["id"]: (entry["matched"], entry["applied"]) for entry in admin.faults()}
    assert counters == {rule: (3, 2)}
    admin.remove_fault(rule)
    assert admin.faults() == []


def test_a_wrong_rule_is_refused_with_the_reason(admin: Admin) -> None:
    with pytest.raises(AdminError, match=r"400.*explode.*kinds"):
        admin.add_fault({"kind": "explode"})
    with pytest.raises(AdminError, match=r"400.*no knob|400.*nonsense"):
        admin.settings(nonsense=1)
    assert admin.faults() == []


def test_keys_are_revoked_and_added_while_it_runs(running: SandboxProcess, admin: Admin) -> None:
    assert admin.revoke_key("extract", "primary") == 1
    assert get(running).status == 401
    assert get(running, key="2" * 32).status == 200
    admin.add_key("extract", "1" * 32, "primary")
    assert get(running).status == 200


def test_a_knob_is_turned_while_it_runs(running: SandboxProcess, admin: Admin) -> None:
    sunday = "/extracts/batch/2026-11-15/references"
    assert get(running, sunday).status == 404
    admin.settings(empty_day="204")
    assert get(running, sunday).status == 204
    admin.settings(empty_day="404")


def test_the_truth_of_a_day_is_what_is_served(running: SandboxProcess, admin: Admin) -> None:
    import io
    import zipfile

    day = admin.day("2026-11-19", members=True)
    body = get(running).body
    facts = day["datasets"]["references"]
    assert (facts["bytes"], facts["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert facts["members"] == {
        name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
    }
    assert facts["count"] == len(day["filings"])
    structured = sum(filing["structured"] for filing in day["filings"])
    assert day["datasets"]["json"]["count"] == day["datasets"]["xbrl"]["count"] == structured
    assert day["datasets"]["pdf"]["count"] == len(day["filings"])
    assert day["open"] is True


def test_the_truth_of_an_improved_day_is_what_is_served(running: SandboxProcess, admin: Admin) -> None:
    days = [f"2026-11-{number:02d}" for number in range(2, 20)]
    date = next(
        date for date in days if admin.day(date, product="improved")["datasets"]["references"]["count"]
    )
    day = admin.day(date, product="improved", members=True)
    assert set(day["datasets"]) == {"references", "json"}
    assert (
        len(day["improvements"])
        == day["datasets"]["json"]["count"]
        == len(day["datasets"]["json"]["members"])
    )
    facts = day["improvements"][0]
    assert f"{facts['reference_number']}-{facts['label']}.json" in day["datasets"]["json"]["members"]
    assert facts["finalised_on"] == date
    body = get(running, f"/improved/batch/{date}/references/improved", key="7" * 32).body
    assert hashlib.sha256(body).hexdigest() == day["datasets"]["references"]["sha256"]


def test_the_truth_of_a_company_is_what_queries_answer(running: SandboxProcess, admin: Admin) -> None:
    numbers = admin.companies(limit=20)
    assert len(set(numbers)) == 20
    for number in numbers:
        known = admin.company(number)
        reply = get(
            running, f"/authentic/legalEntity/{number}/references", key="5" * 32, accept="application/json"
        )
        served = json.loads(reply.body) if reply.status == 200 else []
        assert sorted(row["ReferenceNumber"] for row in served) == sorted(
            row["reference_number"] for row in known
        )
    filing = next(
        row
        for number in numbers
        for row in admin.company(number)
        if row["formats"] == ["json", "xbrl", "pdf"]
    )
    path = f"/authentic/deposit/{filing['reference_number']}/accountingData"
    assert get(running, path, key="6" * 32, accept="application/x.jsonxbrl").status == 200
    assert admin.company("0403101811") == []


def test_a_filing_is_taken_down_and_put_back_while_it_runs(running: SandboxProcess, admin: Admin) -> None:
    day = admin.day("2026-11-19")
    name = day["filings"][0]["reference_number"]
    path = f"/authentic/deposit/{name}/reference"
    admin.remove_filing(name, from_at="2026-11-20T12:31")
    assert [entry["reference"] for entry in admin.removals()] == [name]
    assert get(running, path, key="5" * 32, accept="application/json").status == 200
    admin.clock_advance(60)
    assert get(running, path, key="5" * 32, accept="application/json").status == 404
    assert len(admin.day("2026-11-19")["filings"]) == len(day["filings"]) - 1
    admin.restore_filing(name)
    assert admin.day("2026-11-19")["datasets"] == day["datasets"]
    with pytest.raises(AdminError, match=r"404.*undone"):
        admin.restore_filing(name)
    with pytest.raises(AdminError, match=r"400.*'2026' is no reference number"):
        admin.remove_filing("2026")


def test_the_truth_follows_a_mutation(admin: Admin) -> None:
    before = admin.day("2026-11-19")["datasets"]
    admin.add_fault({"kind": "mutate", "change": "removed"}, date="2026-11-19", product="extract")
    assert admin.day("2026-11-19")["datasets"]["references"]["count"] == before["references"]["count"] - 1
    assert admin.day("2026-11-19", product="authentic-archive")["datasets"] == before


def test_the_journal_answers_exactly_and_can_be_filtered(running: SandboxProcess, admin: Admin) -> None:
    for _ in range(3):
        get(running)
    get(running, "/authentic-archive/2026-10-01/references", key="3" * 32)
    get(running, key="f" * 32)
    facts = admin.summary()
    assert facts["count"] == 5
    assert facts["by_status"] == {"200": 4, "401": 1}
    assert facts["by_product"] == {"extract": 4, "authentic-archive": 1}
    assert facts["max_concurrency"] == 1
    assert facts["key_in_url"] is False
    assert facts["request_ids_unique"] is True
    assert facts["max_arrivals"] <= 5
    assert admin.summary(product="authentic-archive")["count"] == 1
    assert admin.summary(window_s=3600)["max_arrivals"] == 5
    assert [entry["status"] for entry in admin.journal(status="401")] == [401]
    assert not re.search(r"([0-9a-f])\1{31}", json.dumps(admin.journal()))


def test_the_schema_of_rules_and_settings_can_be_asked_for(admin: Admin) -> None:
    schema = admin.request("GET", "/schema")
    settings = schema["settings"]["$defs"]["SandboxSettings"]["properties"]
    assert {"scale", "framing", "ranges"} <= set(settings)
    assert "refuse_accept" in json.dumps(schema["faults"])


def test_the_registrys_port_closes_and_opens_again(running: SandboxProcess, admin: Admin) -> None:
    admin.listening(open_door=False)
    with pytest.raises(ConnectionRefusedError):
        get(running)
    admin.listening(open_door=True)
    assert get(running).status == 200


def test_the_administration_is_not_under_the_registrys_paths(running: SandboxProcess) -> None:
    for path in ("/clock", "/faults", "/journal", "/keys", "/settings", "/health", "/days/2026-11-19"):
        assert get(running, path).status == 404


# --- the process ---


def test_it_stops_cleanly_when_told_even_with_a_client_in_silence(tmp_path: Path) -> None:
    sandbox = SandboxProcess(clock="2026-11-20T12:30", directory=tmp_path).start()
    sandbox.admin.add_fault({"kind": "stall"})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(get, sandbox)
        deadline_s = time.monotonic() + 5
        while sandbox.admin.summary()["open"] == 0:
            assert time.monotonic() < deadline_s
        started_s = time.monotonic()
        assert sandbox.stop() == 0
        assert time.monotonic() - started_s < 3.0
        assert waiting.result().status == 0
    assert "Traceback" not in sandbox.log()


def test_the_journal_file_survives_the_sandboxs_own_death(tmp_path: Path) -> None:
    sandbox = SandboxProcess(clock="2026-11-20T12:30", directory=tmp_path).start()
    get(sandbox)
    first_url = sandbox.base_url
    sandbox.admin.summary()  # one exchange later the line of the first is on its way
    deadline_s = time.monotonic() + 5
    while sandbox.journal_path.read_bytes().count(b"\n") < 2:
        assert time.monotonic() < deadline_s
    sandbox.kill()
    lines = [json.loads(line) for line in sandbox.journal_path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "ended"]
    assert lines[1]["status"] == 200
    assert "1" * 32 not in sandbox.journal_path.read_text()
    sandbox.start()
    assert sandbox.base_url == first_url
    assert get(sandbox).status == 200
    sandbox.stop()


def test_it_stops_at_once_while_a_very_large_day_is_being_made(tmp_path: Path) -> None:
    sandbox = SandboxProcess(
        clock="2026-11-20T12:30",
        directory=tmp_path,
        scale=1.0,
        framing="length",
        filings_on={"2026-11-19": 20_000},
    ).start()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            get, sandbox, DAY.replace("references", "accountingData"), accept="application/x.zip+pdf"
        )
        deadline_s = time.monotonic() + 5
        while sandbox.admin.summary()["open"] == 0:
            assert time.monotonic() < deadline_s
        started_s = time.monotonic()
        assert sandbox.stop() == 0
        assert time.monotonic() - started_s < 10.0
        assert waiting.result().status == 0


def test_a_port_in_use_is_said_in_one_line_and_is_exit_code_5() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option in ("--port", "--admin-port"):
            other = {"--port": "--admin-port", "--admin-port": "--port"}[option]
            result = filingd(option, str(port), other, "0")
            assert result.returncode == 5
            assert result.stderr.strip() == (
                f"filingd: Port {port} on 127.0.0.1 is in use. Choose another with {option}, or 0 for a free one."
            )


def test_only_loopback_is_served() -> None:
    result = filingd("--host", "0.0.0.0", "--port", "0", "--admin-port", "0")
    assert result.returncode == 3
    assert "serves 127.0.0.1 only" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "option", "message"),
    [
        ("knobs.json", '{"framming": "length"}', "--settings", "framming"),
        ("knobs.toml", "scale = ", "--settings", "knobs.toml cannot be read"),
        ("faults.json", '[{"effect": {"kind": "cut", "how": "gently"}}]', "--faults", "gently"),
    ],
)
def test_a_wrong_file_is_named_and_is_exit_code_3(
    tmp_path: Path, name: str, content: str, option: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    result = filingd(option, str(tmp_path / name), "--port", "0", "--admin-port", "0")
    assert result.returncode == 3
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_instant_on_the_command_line_is_quoted() -> None:
    result = filingd("--clock", "noonish")
    assert result.returncode == 3
    assert "'noonish' is not an instant" in result.stderr


def test_the_help_has_an_example() -> None:
    result = filingd("--help")
    assert result.returncode == 0
    assert "filingd sandbox --clock 2026-11-20T06:30 --scale 0.02" in result.stdout


# --- speed ---


@pytest.mark.slow
def test_forty_five_days_of_four_datasets_are_served_within_seconds() -> None:
    import datetime as dt

    async def mirror(sandbox: SandboxProcess) -> list[int]:
        limit = asyncio.Semaphore(4)

        async def one(day: dt.date, operation: str, kind: str) -> int:
            recent = (dt.date(2026, 11, 20) - day).days <= 30
            prefix, key = ("/extracts/batch", "1" * 32) if recent else ("/authentic-archive", "3" * 32)
            async with limit:
                reply = await ask(
                    sandbox.base_url,
                    f"{prefix}/{day}/{operation}",
                    key=key,
                    accept=f"application/x.zip+{kind}",
                )
            return reply.status

        days = [dt.date(2026, 11, 20) - dt.timedelta(days=age) for age in range(1, 46)]
        kinds = [
            ("references", "json"),
            ("accountingData", "jsonxbrl"),
            ("accountingData", "xbrl"),
            ("accountingData", "pdf"),
        ]
        return await asyncio.gather(*(one(day, *kind) for day in days for kind in kinds))

    with SandboxProcess(clock="2026-11-20T12:30", scale=0.01, late_share=0.0) as sandbox:
        started_s = time.monotonic()
        statuses = asyncio.run(mirror(sandbox))
        elapsed_s = time.monotonic() - started_s
    assert statuses.count(200) >= 31 * 3
    assert set(statuses) == {200, 404}
    assert elapsed_s < 15.0


@pytest.mark.slow
def test_a_rate_far_above_a_hundred_requests_a_second_is_held() -> None:
    async def many(sandbox: SandboxProcess) -> float:
        started_s = time.monotonic()
        for _ in range(20):
            await asyncio.gather(*(ask(sandbox.base_url, DAY) for _ in range(25)))
        return time.monotonic() - started_s

    with SandboxProcess(clock="2026-11-20T12:30", scale=0.001) as sandbox:
        elapsed_s = asyncio.run(many(sandbox))
        assert sandbox.admin.summary()["by_status"] == {"200": 500}
    assert 500 / elapsed_s > 100
