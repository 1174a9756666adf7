"""Searches: what matches, paging, the 1000 visible hits, and splitting (KVK reference, sections 2 and 6)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filingd.sandbox.kvk.register import make_registers
from filingd.sandbox.kvk.registrations import ROW_TYPES, rows_of
from filingd.sandbox.kvk.rsin import passes_eleven_test
from filingd.sandbox.kvk.searching import Criteria, matches, words_of
from filingd.sandbox.kvk.seeded import (
    CROWD_STREET,
    HOT_TOWN,
    OWNERS,
    STREETS,
    TOWNS,
    TRADES,
    Population,
    SeededCompanies,
)
from support.kvk_http import API, TEST, code_of, get, zoeken
from support.sandbox import InProcessSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from filingd.sandbox.kvk.register import Register
    from filingd.sandbox.server import Sandbox

SMALL = Population(1, 300, 20, 0.1, 0.05, 0.1, 0.2)
REGISTER = make_registers(SMALL)["api"]
EVERY_ROW = [
    row
    for number in REGISTER.numbers(10_000)
    if (company := REGISTER.company(number))
    for row in rows_of(company)
]


@pytest.fixture
async def kvk() -> AsyncIterator[Sandbox]:
    async with InProcessSandbox(kvk={"companies": 3000, "crowd_companies": 0, "calls_per_s": 0}) as running:
        yield running


async def found(sandbox: Sandbox, base: str = API, **parameters: Any) -> dict[str, Any]:
    reply = await get(sandbox.base_url, zoeken(base, **parameters))
    return dict(json.loads(reply.body)) if reply.status == 200 else {"totaal": 0, "resultaten": []}


def identity(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["kvkNummer"], row.get("vestigingsnummer", ""), row["type"]


async def every_page(sandbox: Sandbox, **parameters: Any) -> tuple[int, list[dict[str, Any]]]:
    """`totaal` and the rows of all pages up to the visible ones."""
    rows: list[dict[str, Any]] = []
    total = 0
    for page in range(1, 11):
        answer = await found(sandbox, **parameters, pagina=page, resultatenPerPagina=100)
        total = answer["totaal"] or total
        rows += answer["resultaten"]
        if "volgende" not in answer:
            break
    return total, rows


# --- what matches ---


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        Criteria,
        words=st.lists(st.sampled_from(["molen", "voorbeeld", *map(str.lower, (*TRADES[:4], *OWNERS[:4])), "bv"]), max_size=2)
        .map(tuple),
        street=st.sampled_from(["", "", *STREETS[:3], CROWD_STREET]),
        number=st.sampled_from([None, None, 1, 7, 20]),
        letter=st.sampled_from(["", "", "A"]),
        town=st.sampled_from(["", *TOWNS[:5]]),
        kinds=st.frozensets(st.sampled_from(ROW_TYPES), max_size=2),
        is_with_inactive=st.booleans(),
    )
)  # fmt: skip
def test_the_index_finds_what_looking_at_every_row_finds(criteria: Criteria) -> None:
    if criteria.is_empty:
        return
    result = REGISTER.search(criteria)
    rows = result.between(0, len(result))
    assert sorted(map(repr, rows)) == sorted(repr(row) for row in EVERY_ROW if matches(row, criteria))


def test_a_search_of_the_small_register_finds_something() -> None:
    assert len(REGISTER.search(Criteria(words=("molen",), town="Utrecht"))) > 40


def test_words_are_whole_and_have_no_dots() -> None:
    assert words_of("Bakkerij 't Verzinsel B.V.") == ("bakkerij", "t", "verzinsel", "bv")


@pytest.mark.parametrize(
    ("parameters", "numbers"),
    [
        ({"naam": "donald"}, {"68750110"}),
        ({"naam": "DONALD test"}, {"68750110"}),
        ({"naam": "dona"}, set()),  # a fragment finds nothing
        ({"naam": "donald dagobert"}, set()),  # all the words in one name
        ({"naam": "wiekenwerk"}, {"99000011"}),  # a trade name
        ({"naam": "noordtuin"}, {"99000038"}),  # an alias
        ({"kvkNummer": "69599084"}, {"69599084"}),
        ({"vestigingsnummer": "000038509520"}, {"69599084"}),
        ({"rsin": "857587973"}, {"68750110"}),
        ({"straatnaam": "proefkade", "plaats": "testdam"}, {"99000011"}),
        ({"straatnaam": "proefkade", "plaats": "utrecht"}, set()),
        ({"postcode": "1234AB", "huisnummer": 12, "huisletter": "a"}, {"99000011"}),
        ({"postcode": "1234AB", "huisnummer": 13}, set()),
        ({"postcode": "1234ab", "huisnummer": 12}, set()),  # lower case is valid and finds nothing
        ({"postcode": "1234ZZ", "postbusnummer": 45}, {"99000011"}),
        ({"plaats": "Sterksel"}, {"90001354"}),  # a shielded address is found by its town
        ({"straatnaam": "Verborgenpad"}, set()),  # and by nothing else
        ({"naam": "verdwenen"}, set()),
        ({"naam": "verdwenen", "inclusiefInactieveRegistraties": "true"}, {"99000053"}),
    ],
)
async def test_a_search_finds_whole_words_and_whole_values(
    kvk: Sandbox, parameters: dict[str, Any], numbers: set[str]
) -> None:
    answer = await found(kvk, TEST, **parameters)
    assert {row["kvkNummer"] for row in answer["resultaten"]} == numbers


async def test_one_company_has_a_row_for_itself_and_one_for_each_branch(kvk: Sandbox) -> None:
    answer = await found(kvk, TEST, kvkNummer="68750110")
    kinds = sorted(row["type"] for row in answer["resultaten"])
    assert kinds == ["hoofdvestiging", "nevenvestiging", "rechtspersoon"]
    person = next(row for row in answer["resultaten"] if row["type"] == "rechtspersoon")
    assert "vestigingsnummer" not in person
    assert [link["rel"] for link in person["links"]] == ["basisprofiel"]
    only = await found(kvk, TEST, kvkNummer="68750110", type=["rechtspersoon", "nevenvestiging"])
    assert only["totaal"] == 2


async def test_house_number_and_postcode_are_shown_to_who_searched_for_them(kvk: Sandbox) -> None:
    def address(answer: dict[str, Any]) -> dict[str, Any]:
        row = next(row for row in answer["resultaten"] if row["type"] == "hoofdvestiging")
        return dict(row["adres"]["binnenlandsAdres"])

    by_name = address(await found(kvk, TEST, naam="molenbouw"))
    assert by_name == {"type": "bezoekadres", "straatnaam": "Proefkade", "plaats": "Testdam"}
    by_house = address(await found(kvk, TEST, postcode="1234AB", huisnummer=12))
    assert by_house == by_name | {"huisnummer": 12, "huisletter": "a", "postcode": "1234AB"}


async def test_an_rsin_is_shown_to_who_searched_for_it(kvk: Sandbox) -> None:
    by_rsin = await found(kvk, TEST, rsin="992760562")
    assert by_rsin["resultaten"][0]["rsin"] == "992760562"
    assert by_rsin["resultaten"][0]["adres"] == {
        "binnenlandsAdres": {"type": "postadres", "plaats": "Sterksel"}
    }
    assert "rsin" not in (await found(kvk, TEST, kvkNummer="90001354"))["resultaten"][0]


async def test_inactive_rows_say_so_and_very_old_ones_have_no_links(kvk: Sandbox) -> None:
    asked = {"straatnaam": "Oudeweg", "plaats": "Haarlem", "inclusiefInactieveRegistraties": "true"}
    old = (await found(kvk, TEST, **asked))["resultaten"][0]
    assert old["actief"] == "Nee"
    assert not {"links", "_links"} & set(old)
    recent = (await found(kvk, TEST, naam="gestopt", inclusiefInactieveRegistraties="true"))["resultaten"][0]
    assert (recent["actief"], bool(recent["links"])) == ("Nee", True)
    assert "actief" not in (await found(kvk, TEST, kvkNummer="68750110"))["resultaten"][0]


async def test_an_expired_name_is_found_and_named(kvk: Sandbox) -> None:
    row = (await found(kvk, TEST, naam="oudenaam"))["resultaten"][0]
    assert (row["naam"], row["vervallenNaam"]) == ("Nieuwenaam Voorbeeld B.V.", "Oudenaam Voorbeeld B.V.")
    assert "vervallenNaam" not in (await found(kvk, TEST, naam="nieuwenaam"))["resultaten"][0]


async def test_an_address_abroad_stands_for_itself(kvk: Sandbox) -> None:
    row = (await found(kvk, TEST, naam="mills", type="rechtspersoon"))["resultaten"][0]
    assert row["adres"] == {
        "buitenlandsAdres": {
            "type": "postadres",
            "straatHuisnummer": "Example Road 7",
            "postcodeWoonplaats": "EX1 2MP EXAMPLETON",
            "land": "Verenigd Koninkrijk",
        }
    }


# --- pages ---


async def test_pages_hold_every_row_once_and_link_to_their_neighbours(kvk: Sandbox) -> None:
    total, rows = await every_page(kvk, naam="molen", plaats="Breda")
    assert total == len(rows) == len(set(map(identity, rows))) > 30
    middle = await found(kvk, naam="molen", plaats="Breda", pagina=2, resultatenPerPagina=10)
    assert middle["vorige"].endswith("naam=molen&plaats=Breda&pagina=1&resultatenperpagina=10")
    assert middle["volgende"].endswith("pagina=3&resultatenperpagina=10")
    first = await found(kvk, naam="molen", plaats="Breda")
    assert (first["pagina"], first["resultatenPerPagina"], len(first["resultaten"])) == (1, 10, 10)
    assert "vorige" not in first


async def test_a_page_after_the_last_finds_nothing(kvk: Sandbox) -> None:
    reply = await get(kvk.base_url, zoeken(TEST, kvkNummer="69599084", pagina=2))
    assert (reply.status, code_of(reply)) == (404, "IPD5200")


@pytest.mark.parametrize(("variant", "answer"), [("404", (404, "IPD5200")), ("400", (400, "IPD1999"))])
async def test_a_thousand_hits_are_visible_however_many_there_are(
    variant: str, answer: tuple[int, str]
) -> None:
    knobs = {"companies": 3000, "crowd_companies": 0, "calls_per_s": 0, "beyond_visible": variant}
    async with InProcessSandbox(kvk=knobs) as sandbox:
        total, rows = await every_page(sandbox, naam="molen")
        assert total > 1000
        assert len(rows) == len(set(map(identity, rows))) == 1000
        reply = await get(sandbox.base_url, zoeken(naam="molen", pagina=11, resultatenPerPagina=100))
        assert (reply.status, code_of(reply)) == answer
        last = await found(sandbox, naam="molen", pagina=10, resultatenPerPagina=100)
        assert "volgende" not in last
        ragged = await found(sandbox, naam="molen", pagina=11, resultatenPerPagina=99)
        assert len(ragged["resultaten"]) == 10


async def test_results_that_shift_between_calls_leave_some_rows_unseen() -> None:
    knobs = {"companies": 3000, "crowd_companies": 0, "calls_per_s": 0, "order": "shifting"}
    async with InProcessSandbox(kvk=knobs) as sandbox:
        total, rows = await every_page(sandbox, naam="molen", plaats="Utrecht", type="hoofdvestiging")
    assert total == len(rows) > len(set(map(identity, rows)))


# --- splitting ---


async def split(
    sandbox: Sandbox, asked: dict[str, Any], axes: list[tuple[str, tuple[str, ...]]]
) -> set[tuple[str, str, str]]:
    """Every row of a search, by narrowing it along the axes until all of a cell is visible."""
    total, rows = await every_page(sandbox, **asked)
    if total <= 1000:
        assert len(rows) == total
        return set(map(identity, rows))
    (axis, values), *more = axes
    cells = [await split(sandbox, asked | {axis: value}, more) for value in values]
    return set().union(*cells)


async def test_a_search_beyond_a_thousand_is_complete_once_it_is_split(kvk: Sandbox) -> None:
    axes = [("type", ROW_TYPES), ("plaats", TOWNS), ("straatnaam", STREETS)]
    truth = _rows(kvk.world.kvk.registers["api"], Criteria(words=("molen",)))
    seen = await split(kvk, {"naam": "molen"}, axes)
    assert len(truth) > 1000
    assert len(truth - seen) == 0
    assert seen == truth


def test_words_and_houses_cover_a_search_too_and_a_row_may_be_in_two_words() -> None:
    whole = Criteria(words=("molen",), kinds=frozenset({"hoofdvestiging"}))
    truth = _rows(REGISTER, whole)
    by_word = [_rows(REGISTER, replace(whole, words=("molen", *words_of(owner)))) for owner in OWNERS]
    assert set().union(*by_word) == truth
    assert sum(map(len, by_word)) > len(truth) > 50
    houses = {
        (address.postcode, address.number)
        for row in EVERY_ROW
        for address in row.addresses
        if address.number and not address.is_shielded
    }
    by_house = [
        _rows(REGISTER, replace(whole, postcode=postcode, number=number))
        for postcode, number in sorted(houses)
    ]
    shielded = {
        (row.company, row.branch, row.kind)
        for row in EVERY_ROW
        if matches(row, whole) and all(address.is_shielded or not address.number for address in row.addresses)
    }
    assert shielded
    assert set().union(*by_house) == truth - shielded


def _rows(register: Register, criteria: Criteria) -> set[tuple[str, str, str]]:
    result = register.search(criteria)
    return {(row.company, row.branch, row.kind) for row in result.between(0, len(result))}


async def test_the_crowd_cannot_be_told_apart_by_any_parameter() -> None:
    knobs = {"companies": 1200, "crowd_companies": 1100, "calls_per_s": 0}
    async with InProcessSandbox(kvk=knobs) as sandbox:
        asked: dict[str, Any] = {
            "naam": "molen voorbeeld bv", "plaats": HOT_TOWN, "straatnaam": CROWD_STREET, "postcode": "3500AA",
            "huisnummer": 1, "type": "hoofdvestiging",
        }  # fmt: skip
        total, rows = await every_page(sandbox, **asked)
        assert (total, len(rows)) == (1100, 1000)
        for other in ("nevenvestiging", "rechtspersoon"):
            assert (await found(sandbox, **asked | {"type": other}))["totaal"] == 0


async def test_rows_with_an_address_abroad_are_in_no_town() -> None:
    knobs = {"companies": 400, "crowd_companies": 0, "foreign_share": 0.5, "calls_per_s": 0}
    async with InProcessSandbox(kvk=knobs) as sandbox:
        whole = (await found(sandbox, naam="molen", type="rechtspersoon"))["totaal"]
        in_towns = [
            (await found(sandbox, naam="molen", type="rechtspersoon", plaats=town))["totaal"]
            for town in TOWNS
        ]
    assert sum(in_towns) < whole


async def test_a_search_by_number_needs_no_index() -> None:
    async with InProcessSandbox(kvk={"companies": 1_000_000, "crowd_companies": 0}) as sandbox:
        company = sandbox.world.kvk.registers["api"].company("98999998")
        assert company is not None
        asked = [{"kvkNummer": company.number}, {"vestigingsnummer": company.branches[0].number}]
        asked += [{"rsin": company.rsin}] if company.rsin else []
        for parameters in asked:
            answer = await found(sandbox, **parameters, inclusiefInactieveRegistraties="true")
            assert {row["kvkNummer"] for row in answer["resultaten"]} == {company.number}


# --- numbers lead back ---


@given(st.integers(0, 999_999))
@settings(max_examples=60, deadline=None)
def test_every_number_of_a_seeded_company_leads_back_to_it(place: int) -> None:
    companies = SeededCompanies(Population(1, 1_000_000, 100, 0.0, 0.0, 0.0, 0.0))
    company = companies.at(place)
    assert companies.by_number(company.number) == company
    assert all(companies.by_branch(branch.number) == company for branch in company.branches)
    if company.rsin:
        assert passes_eleven_test(company.rsin)
        assert companies.by_rsin(company.rsin) == company
