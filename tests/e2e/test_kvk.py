"""KVK from lists and searches to records on disk: a real daemon against the sandbox, and what its journal counted."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

from e2e.kvk_rig import PARTS_OF_COMPANY, KvkRig
from support.daemon import wait_until
from support.kvk import EVERY_PART
from support.mirror import Said, filingd

if TYPE_CHECKING:
    from collections.abc import Callable


def test_of_a_list_exactly_the_configured_parts_are_had_to_the_byte_for_one_call_each(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"clients": {"parts": EVERY_PART}, "names": {"parts": ["naamgeving"]}})
    numbers = kvk.companies(20)
    clients, names = numbers[:12], numbers[10:20]
    kvk.follow("clients", clients)
    kvk.follow("names", [*names, "12345678"])
    kvk.run()
    branches = {branch for number in clients for branch in kvk.admin.kvk_company(number)["branches"]}
    wanted = {(number, part) for number in clients for part in PARTS_OF_COMPANY}
    wanted |= {(number, "naamgeving") for number in names} | {
        (branch, "vestigingsprofiel") for branch in branches
    }
    truth = {key: digest for key in wanted if (digest := kvk.truth(*key)) is not None}
    assert kvk.held() == truth
    asked = kvk.asked()
    assert len(asked) == len(wanted) + 1, "and the one that KVK does not know"
    assert not kvk.asked("zoeken"), "nobody searched"
    before = len(kvk.admin.journal())
    kvk.run()
    assert len(kvk.admin.journal()) == before, "what is had is not asked for again"


def test_a_search_is_paged_and_what_it_finds_is_followed_on_its_terms(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"molens": {"parts": ["basisprofiel"]}}, knobs={"companies": 900})
    truth = kvk.admin.kvk_search(naam="molen")
    assert 100 < truth["totaal"] <= 1000, "several pages"
    kvk.search("molens", naam="molen")
    kvk.run()
    companies = {row[0] for row in truth["rows"]}
    assert {number for number, _ in kvk.held()} == companies
    assert sorted(kvk.asked("basisprofiel")) == sorted(companies), "each once, however many rows it has"
    assert [cell.is_sealed for cell in kvk.cells().values()] == [True]


def command(kvk: KvkRig, *given: str) -> Said:
    """A command on this store, at the sandbox's present instant."""
    instant = dt.datetime.fromtimestamp(kvk.admin.clock(), dt.UTC).isoformat()
    config = kvk.rig.config
    return filingd(
        *given, "--config", str(config.path), "--rehearse-at", instant, environment=config.environment()
    )


def test_what_is_damaged_is_had_again_and_judged_by_a_command_and_known_after_a_rebuild(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"molens": {"parts": ["basisprofiel"]}})
    kvk.search("molens", naam="molen")
    kvk.run()
    held = kvk.held()
    named = next((kvk.store.root / "kvk" / "numbers").rglob("*.basisprofiel.json"))
    (page,) = (kvk.store.root / "kvk" / "searches").rglob("1.json")
    for path in (named, page):
        path.write_bytes(path.read_bytes()[:-9])
    said = command(kvk, "verify", "--repair")
    assert said.code == 0, said.out
    assert kvk.held() == held
    assert [cell.is_sealed for cell in kvk.cells().values()] == [True]
    assert command(kvk, "manifest", "rebuild").code == 0
    assert kvk.cells().keys() == {"all"}, "a cell without a row would never be judged"
    kvk.run()
    assert [cell.is_sealed for cell in kvk.cells().values()] == [True]


def test_a_search_beyond_a_thousand_is_split_and_what_cannot_be_seen_is_told_with_its_total(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"all": {"parts": []}}, knobs={"companies": 2600, "crowd_companies": 1100})
    kvk.search("all", plaats="Utrecht", split=["type"])
    kvk.run()
    truth = kvk.admin.kvk_search(plaats="Utrecht")
    cells = kvk.cells()
    assert truth["totaal"] > 1000
    assert set(cells) == {"all", "type=hoofdvestiging", "type=nevenvestiging", "type=rechtspersoon"}
    beyond = {
        name: cell for name, cell in cells.items() if any("beyond_reach" in each for each in cell.reasons)
    }
    for name, cell in beyond.items():
        total = kvk.admin.kvk_search(plaats="Utrecht", type=name.rpartition("=")[2])["totaal"]
        assert f"totaal {total}" in cell.reasons[0]
    assert beyond, "the crowd cannot be told apart"
    assert all(cell.is_sealed for name, cell in cells.items() if name not in beyond)


def test_only_what_changed_becomes_a_new_version(make_kvk: Callable[..., KvkRig]) -> None:
    kvk = make_kvk(
        watch={"clients": {"parts": ["basisprofiel"], "refresh_interval": "1 h"}}, knobs={"links": "release"}
    )
    one, other = kvk.companies(2)
    kvk.follow("clients", [one, other])
    kvk.run()
    kvk.admin.kvk_change(one, name="Renamed B.V.")
    kvk.admin.settings(kvk={"release": "2025-12"})  # links move, fields change places: nothing that matters
    kvk.admin.clock_advance(3700.0)
    kvk.run()
    assert kvk.body(one, "basisprofiel")["naam"] == "Renamed B.V."
    versions = {number: len(kvk.versions(number)) for number in (one, other)}
    assert versions == {one: 2, other: 1}
    assert len(kvk.asked("basisprofiel")) == 4


def test_a_company_with_a_thousand_branches_is_had_whole_inside_the_limit(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(
        base="test", calls_per_second=90.0, concurrency=32,
        watch={"big": {"parts": ["vestigingen", "vestigingsprofiel"]}},
    )  # fmt: skip
    kvk.follow("big", ["90006577"])
    kvk.run()
    branches = {each["vestigingsnummer"] for each in kvk.body("90006577", "vestigingen")["vestigingen"]}
    assert len(branches) == 1000
    assert {number for number, part in kvk.held() if part == "vestigingsprofiel"} == branches
    summary = kvk.admin.summary(registry="kvk")
    assert summary["count"] == 1001
    assert summary["max_arrivals"] <= 101, (
        "the window is the sender's; a network may bunch what was sent apart"
    )
    assert summary["by_status"] == {"200": 1001}


def test_an_rsin_leads_to_its_company_by_a_free_search(make_kvk: Callable[..., KvkRig]) -> None:
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel"]}})
    number, rsin = next(
        (number, rsin) for number in kvk.companies(50) if (rsin := kvk.admin.kvk_company(number)["rsin"])
    )
    kvk.follow("clients", [rsin])
    kvk.run()
    assert set(kvk.held()) == {(rsin, "zoeken"), (number, "basisprofiel")}
    assert kvk.asked() == [number]


def test_who_leaves_the_list_is_not_paid_for_any_more_and_stays_stored(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel"], "refresh_interval": "1 h"}})
    one, other = kvk.companies(2)
    kvk.follow("clients", [one, other])
    kvk.run()
    kvk.follow("clients", [one])
    kvk.admin.clock_advance(3700.0)
    kvk.run()
    assert sorted(kvk.asked("basisprofiel")) == sorted([one, one, other])
    assert set(kvk.held()) == {(one, "basisprofiel"), (other, "basisprofiel")}


# ------------------------------------------------------------------------------------------ errors


def test_temporary_states_are_waited_for_and_what_is_gone_gets_a_date(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel"]}}, unavailable_interval="200 ms")
    fine, soon, later, gone, broken = kvk.companies(5)
    kvk.admin.add_fault({"kind": "ipd", "code": "IPD1003"}, registry="kvk", number=soon, times=2)
    kvk.admin.add_fault({"kind": "ipd", "code": "IPD1002"}, registry="kvk", number=later)
    kvk.admin.add_fault({"kind": "ipd", "code": "IPD0005"}, registry="kvk", number=gone)
    kvk.admin.add_fault({"kind": "ipd", "code": "IPD9999"}, registry="kvk", number=broken)
    kvk.follow("clients", [fine, soon, later, gone, broken])
    with kvk.rig.daemon() as daemon:
        wait_until(lambda: {number for number, _ in kvk.held()} == {fine, soon}, "the two that can be had")
        wait_until(
            lambda: len([one for one in kvk.asked() if one == broken]) == 3, "three tries of the broken one"
        )
        daemon.stop()
    states = {number: kvk.item(number) for number in (later, gone, broken)}
    day_s = 86_400.0
    now = kvk.admin.clock()
    assert (states[later].state, states[later].reason) == ("due", "being_processed")
    assert day_s * 0.9 < (states[later].due_at or 0.0) - now < day_s * 1.1
    assert (states[gone].state, states[gone].reason) == ("absent", "not_deliverable")
    assert (states[gone].due_at or 0.0) - now > 20 * day_s
    assert (states[broken].due_at or 0.0) - now > 0.9 * day_s
    assert kvk.asked().count(later) == 1


def test_a_service_that_answers_404_to_everything_buries_nobody(make_kvk: Callable[..., KvkRig]) -> None:
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel"]}})
    numbers = kvk.companies(30)
    kvk.admin.add_fault({"kind": "ipd"}, registry="kvk")
    kvk.follow("clients", numbers)
    kvk.run()
    assert {kvk.item(number).state for number in numbers} == {"due"}
    kvk.admin.clear_faults()
    kvk.admin.clock_advance(2 * 86_400.0)
    kvk.run()
    assert {number for number, _ in kvk.held()} == set(numbers)


def test_a_refused_key_parks_the_whole_registry_and_a_new_one_opens_it(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel", "naamgeving"]}})
    numbers = kvk.companies(40)
    kvk.admin.add_fault({"kind": "unauthorized"}, registry="kvk")
    kvk.follow("clients", numbers)
    kvk.run()
    refused = len(kvk.admin.journal())
    assert refused <= 8, "those that were under way, and nobody after them"
    assert kvk.held() == {}
    kvk.admin.clear_faults()
    kvk.run()  # a restart asks once more
    assert len(kvk.held()) == 80
    assert kvk.admin.summary(registry="kvk", status=200)["count"] == 80


def test_a_product_outside_the_contract_is_closed_alone(make_kvk: Callable[..., KvkRig]) -> None:
    kvk = make_kvk(
        watch={"clients": {"parts": ["basisprofiel", "naamgeving"]}},
        knobs={
            "keys": {
                "main": {"key": "l7xx" + "1" * 32, "products": ["zoeken", "basisprofiel"], "bases": ["api"]}
            }
        },
    )
    numbers = kvk.companies(40)
    kvk.follow("clients", numbers)
    kvk.run()
    assert set(kvk.held()) == {(number, "basisprofiel") for number in numbers}
    assert len(kvk.asked("naamgeving")) <= 8


def test_a_parameter_that_kvk_refuses_stops_that_search_and_nothing_else(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel"]}, "molens": {"parts": []}})
    kvk.admin.add_fault({"kind": "ipd", "code": "IPD1999"}, registry="kvk", operation="zoeken")
    kvk.search("molens", naam="molen")
    (number,) = kvk.companies(1)
    kvk.follow("clients", [number])
    kvk.run()
    kvk.run()
    assert set(kvk.held()) == {(number, "basisprofiel")}
    assert len(kvk.admin.journal(operation="zoeken")) <= 2, "once a start at most"
    (cell,) = kvk.cells().values()
    assert "parameter" in cell.reasons[0]


def test_bodies_keep_what_kvk_says_of_them(make_kvk: Callable[..., KvkRig]) -> None:
    kvk = make_kvk(base="test", watch={"clients": {"parts": ["basisprofiel"], "geo_data": True}})
    kvk.follow("clients", ["69599084", "90001354", "99000011"])
    kvk.run()
    facts = {number: kvk.versions(number)[-1] for number in ("69599084", "90001354", "99000011")}
    assert all(each["api_version"] for each in facts.values())
    assert facts["90001354"]["shielded"] is True
    assert facts["99000011"]["non_mailing"] is True
    geo = json.dumps(kvk.body("69599084", "basisprofiel"))
    assert "gpsLatitude" in geo


def test_a_ledger_that_is_lost_stops_the_daemon_until_somebody_says_that_it_is(
    make_kvk: Callable[..., KvkRig],
) -> None:
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel"]}})
    one, other = kvk.companies(2)
    kvk.follow("clients", [one])
    kvk.run()
    for path in kvk.store.root.glob("ledger.db*"):
        path.unlink()
    kvk.follow("clients", [one, other])
    ended, _ = kvk.rig.run_to_any_end("idle")
    assert ended.code == 4
    assert "filingd run --begin-ledger" in ended.stderr
    assert kvk.asked() == [one], "no call goes out that nobody can count"
    with kvk.rig.daemon(until="idle", arguments=["--begin-ledger"]) as daemon:
        assert daemon.wait(60.0).code == 0
    assert kvk.asked() == [one, other]
