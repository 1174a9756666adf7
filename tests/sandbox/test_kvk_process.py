"""KVK's half of `filingd sandbox` as other suites meet it: a real process, its administration and what it prints."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from filingd.cli.sandbox import _settings
from support.kvk_http import API, get, zoeken
from support.sandbox import KVK_KEYS, KVK_PUBLIC_TEST_KEY, Admin, AdminError, SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.raw_http import Reply

PROFILE = f"{API}/v1/basisprofielen/99000011"


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxProcess]:
    with SandboxProcess(clock="2026-11-20T12:30", kvk={"companies": 400, "crowd_companies": 20}) as started:
        yield started


@pytest.fixture
def admin(running: SandboxProcess) -> Iterator[Admin]:
    running.admin.clear_journal()
    yield running.admin
    running.admin.clear_faults()
    running.admin.kvk_reset()


def ask(sandbox: SandboxProcess, path: str, **more: Any) -> Reply:
    return asyncio.run(get(sandbox.base_url, path, **more))


def test_a_client_is_told_both_bases_and_every_key(running: SandboxProcess) -> None:
    assert running.kvk_base_url == f"{running.base_url}/api"
    assert running.kvk_test_base_url == f"{running.base_url}/test/api"
    assert running.keys["kvk"] == [*KVK_KEYS.values(), KVK_PUBLIC_TEST_KEY]
    printed = running.log()
    for told in (running.base_url, running.kvk_base_url, running.kvk_test_base_url, *running.keys["kvk"]):
        assert told in printed


def test_the_truth_of_a_company_is_what_is_served(running: SandboxProcess, admin: Admin) -> None:
    truth = admin.kvk_company("99000011")
    assert (truth["known"], truth["non_mailing"], truth["branches"]) == (
        True,
        True,
        ["990900000011", "990900000022"],
    )
    paths = {
        "basisprofiel": PROFILE,
        "eigenaar": f"{PROFILE}/eigenaar",
        "hoofdvestiging": f"{PROFILE}/hoofdvestiging",
        "vestigingen": f"{PROFILE}/vestigingen",
        "naamgeving": f"{API}/v1/naamgevingen/kvknummer/99000011",
    }
    assert set(truth["answers"]) == set(paths)
    for operation, path in paths.items():
        reply, told = ask(running, path), truth["answers"][operation]
        assert (told["status"], told["sha256"]) == (200, hashlib.sha256(reply.body).hexdigest())
        assert told["body"] == json.loads(reply.body)
    branch = admin.kvk_branch("990900000022")["answers"]["vestigingsprofiel"]
    assert branch["body"] == json.loads(ask(running, f"{API}/v1/vestigingsprofielen/990900000022").body)


def test_the_truth_of_an_unknown_number_is_its_error(admin: Admin) -> None:
    truth = admin.kvk_company("12345678", base="test")
    assert truth["known"] is False
    assert {answer["status"] for answer in truth["answers"].values()} == {404}
    with pytest.raises(AdminError, match="has not the shape"):
        admin.kvk_company("1")


def test_something_happens_to_a_company_and_is_undone(running: SandboxProcess, admin: Admin) -> None:
    first = ask(running, PROFILE).body
    truth = admin.kvk_change("99000011", is_shielded=True, address={"town": "Elders"})
    assert truth["shielded"]
    second = ask(running, PROFILE).body
    assert hashlib.sha256(second).hexdigest() == truth["answers"]["basisprofiel"]["sha256"]
    assert b"Proefkade" in first
    assert b"Proefkade" not in second
    admin.kvk_reset()
    assert ask(running, PROFILE).body == first
    with pytest.raises(AdminError, match=r"change of a company.*shield"):
        admin.kvk_change("99000011", shield=True)


def test_the_truth_of_a_search_has_the_rows_that_are_served(running: SandboxProcess, admin: Admin) -> None:
    truth = admin.kvk_search(naam="molen", plaats="Utrecht", type=["hoofdvestiging", "rechtspersoon"])
    path = zoeken(
        naam="molen", plaats="Utrecht", type=["hoofdvestiging", "rechtspersoon"], resultatenPerPagina=100
    )
    served = json.loads(ask(running, path).body)
    rows = [[row["kvkNummer"], row.get("vestigingsnummer", ""), row["type"]] for row in served["resultaten"]]
    assert truth == {"totaal": served["totaal"], "rows": rows}
    assert truth["totaal"] > 30
    with pytest.raises(AdminError, match=r"IPD1999.*plats"):
        admin.kvk_search(plats="Utrecht")


def test_numbers_that_exist_are_listed(admin: Admin) -> None:
    listed = admin.kvk_companies(500)
    assert {"99000011", "98000000", "98000399"} <= set(listed)
    assert "98000400" not in listed
    assert "69599084" in admin.kvk_companies(base="test")


def test_spending_is_told_by_key_month_operation_and_path(running: SandboxProcess, admin: Admin) -> None:
    for _ in range(2):
        ask(running, PROFILE)
    ask(running, zoeken(kvkNummer="99000011"), key=KVK_KEYS["second"])
    summary = admin.summary(registry="kvk")
    assert summary["by_operation"] == {"basisprofiel": 2, "zoeken": 1}
    assert summary["by_key_and_month"] == {
        "kvk/main": {"2026-11": {"calls": 2, "paid_calls": 2}},
        "kvk/second": {"2026-11": {"calls": 1, "paid_calls": 0}},
    }
    assert admin.summary(key_name="kvk/second")["count"] == 1
    assert admin.calls_by_path(registry="kvk") == {PROFILE: 2, f"{API}/v2/zoeken": 1}
    assert admin.kvk_granted() == {"main": {"2026-11": 2}, "second": {"2026-11": 1}}


def test_knobs_of_kvk_turn_one_by_one_while_it_runs(running: SandboxProcess, admin: Admin) -> None:
    admin.kvk(calls_per_month=1)
    assert [ask(running, PROFILE).status for _ in range(2)] == [200, 503]
    assert admin.kvk()["companies"] == 400
    admin.kvk(calls_per_month=0)
    assert ask(running, PROFILE).status == 200
    with pytest.raises(AdminError, match="calls_per_moon"):
        admin.kvk(calls_per_moon=1)


def test_a_key_is_revoked_in_mid_run(running: SandboxProcess, admin: Admin) -> None:
    assert admin.revoke_key("kvk", "main") == 1
    assert ask(running, PROFILE).status == 401
    admin.add_key("kvk", KVK_KEYS["main"], "main")
    assert ask(running, PROFILE).status == 200


def test_the_command_line_says_how_many_companies_there_are(tmp_path: Path) -> None:
    file = tmp_path / "knobs.toml"
    file.write_text("[kvk]\ngzip = true\ncompanies = 3\n")
    assert _settings(file, None, None, None).kvk.companies == 3
    given = _settings(file, 5, None, 70_000)
    assert (given.seed, given.kvk.companies, given.kvk.gzip) == (5, 70_000, True)


def test_the_schema_describes_kvk_too(admin: Admin) -> None:
    schema = json.dumps(admin.request("GET", "/schema"))
    for name in ("KvkSandboxSettings", "deregistered_profile", "not_found"):
        assert name in schema
