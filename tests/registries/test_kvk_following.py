"""The numbers an operator follows at KVK: which parts are asked for, how often, by whom; and whom answers name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.forgetting import FORGOTTEN_REASON
from filingd.core.model import (
    EMPTY_STATES,
    HOLDING_STATES,
    LEASED_STATES,
    Attempt,
    Change,
    Deferral,
    Item,
    LaneSpec,
    State,
)
from filingd.core.watchlist import SavedSearch
from filingd.registries.kvk import searches
from filingd.registries.kvk.operations import DEFAULT_PATHS, PARTS, PARTS_OF_COMPANY
from filingd.registries.kvk.ranks import RANK_NUMBER
from filingd.registries.kvk.registry import KvkRegistry
from filingd.registries.kvk.searches import search_of
from filingd.registries.kvk.terms import KvkTerms
from filingd.registries.kvk.upkeep import LOOK_AGAIN_S
from registries.kvk_cases import (
    BRANCH,
    COMPANY,
    DAY_S,
    EVERYTHING,
    NOW,
    OTHER_BRANCH,
    OTHER_COMPANY,
    RSIN,
    RULES,
    asked,
    item,
    page,
    registry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.registries.kvk.following import Companies

LISTED = [COMPANY, RSIN, BRANCH]
BASIC = KvkTerms.of(["basisprofiel"], 30 * DAY_S, "main")
WITH_BRANCHES = KvkTerms.of(["basisprofiel", "vestigingen", "vestigingsprofiel"], 30 * DAY_S, "main")


def companies_of(watched: Mapping[str, KvkTerms] | None = None) -> Companies:
    (companies,) = registry(watched).companies
    return companies


def after(changes: Sequence[Change], known: Mapping[str, Item] | None = None) -> dict[str, Item]:
    items = dict(known or {})
    for change in changes:
        found = items.get(change.item.key)
        assert change.before == (found.state if found else None)
        items[change.item.key] = change.item
    return items


# ------------------------------------------------------------------------------------------------- which parts


def test_each_kind_of_number_has_its_parts_in_order() -> None:
    companies = companies_of()
    assert companies.keys(COMPANY) == [f"kvk/numbers/{COMPANY}/{part}" for part in sorted(PARTS_OF_COMPANY)]
    assert companies.keys(BRANCH) == [f"kvk/numbers/{BRANCH}/vestigingsprofiel"]
    assert companies.keys(RSIN) == [f"kvk/numbers/{RSIN}/zoeken"]
    assert companies.keys(OTHER_COMPANY) == []


@pytest.mark.parametrize(
    "parts", [[], ["basisprofiel"], ["naamgeving", "vestigingen"], ["vestigingsprofiel"]]
)
def test_exactly_the_parts_that_are_configured_are_asked_for(parts: list[str]) -> None:
    companies = companies_of(dict.fromkeys(LISTED, KvkTerms.of(parts, DAY_S, "main")))
    found = {key.split("/", 2)[2] for number in LISTED for key in companies.keys(number)}
    of_company = {f"{COMPANY}/{part}" for part in parts if part != "vestigingsprofiel"}
    of_branch = {f"{BRANCH}/vestigingsprofiel"} if "vestigingsprofiel" in parts else set()
    assert found == of_company | of_branch | {f"{RSIN}/zoeken"}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_asked_for_by_its_path_on_the_lane_of_who_pays(part: str) -> None:
    number = BRANCH if part == "vestigingsprofiel" else COMPANY
    of = registry({number: KvkTerms.of([part], DAY_S, "second")})
    attempt = asked(of, item(part, number))
    assert attempt.url == RULES.base_url + DEFAULT_PATHS[part].replace("{number}", number)
    product = part if part in ("naamgeving", "vestigingsprofiel") else "basisprofiel"
    assert (attempt.lane, attempt.route) == (f"kvk/second/{product}", f"{product}/{part}")
    assert attempt.headers == (("Accept", "application/json"),)
    assert attempt.secret_header == "apikey"
    assert (attempt.is_document, attempt.shares_seal, attempt.request_id_header) == (True, False, None)


@pytest.mark.parametrize("part", PARTS)
def test_geo_data_is_asked_for_where_there_is_any(part: str) -> None:
    number = BRANCH if part == "vestigingsprofiel" else COMPANY
    of = registry({number: KvkTerms.of([part], DAY_S, "main", geo_data=True)})
    assert asked(of, item(part, number)).url.endswith("?geoData=true") is (
        part not in ("vestigingen", "naamgeving")
    )


def test_an_rsin_is_searched_for() -> None:
    attempt = asked(registry(), item("zoeken", RSIN))
    assert attempt.url == f"{RULES.base_url}/v2/zoeken?rsin={RSIN}&pagina=1&resultatenPerPagina=100"
    assert (attempt.lane, attempt.shares_seal) == ("kvk/main/zoeken", False)


def test_a_path_may_be_another() -> None:
    of = registry(
        paths={**DEFAULT_PATHS, "basisprofiel": "/v9/{number}/basis"}, base_url="https://a.invalid/api/"
    )
    assert asked(of, item()).url == f"https://a.invalid/api/v9/{COMPANY}/basis"


def test_what_nobody_wants_is_not_asked_for_and_waits_until_it_is_taken_off_the_schedule() -> None:
    of = registry({COMPANY: BASIC})
    for wanted in (item("eigenaar"), item("basisprofiel", OTHER_COMPANY), item("zoeken", RSIN)):
        expected = Deferral("not_wanted", "kvk/main/basisprofiel", NOW + 86_400.0)
        assert of.request(wanted, NOW) == expected
        assert of.recheck_at(wanted, NOW) is None


def test_before_the_lists_were_read_everything_waits_a_moment_and_is_due_as_soon_as_they_are() -> None:
    of = KvkRegistry(RULES)
    (companies,) = of.companies
    companies.follow({OTHER_COMPANY: BASIC}, {}, is_whole=False)
    asked_early = item("basisprofiel")
    deferral = of.request(asked_early, NOW)
    assert deferral == Deferral("waits_for_lists", "kvk/main/basisprofiel", NOW + LOOK_AGAIN_S)
    companies.follow({COMPANY: BASIC}, {})
    for reason in ("waits_for_lists", "not_wanted"):
        waits = replace(asked_early, state=State.DUE, due_at=NOW + LOOK_AGAIN_S, reason=reason)
        changes = companies.plan([COMPANY], {waits.key: waits}, NOW)
        (due,) = (change.item for change in changes if change.item.key == waits.key)
        assert (due.due_at, due.reason) == (NOW, None)


# ------------------------------------------------------------------------------------------------- planning


def test_planning_makes_what_is_wanted_and_planning_twice_changes_nothing() -> None:
    companies = companies_of()
    items = after(companies.plan(LISTED, {}, NOW))
    assert list(items) == [key for number in LISTED for key in companies.keys(number)]
    assert {one.state for one in items.values()} == {State.DUE}
    assert companies.plan(LISTED, items, NOW + 1) == []


def test_new_items_are_due_at_once_and_pass_nobody_who_waits_longer() -> None:
    companies = companies_of({COMPANY: BASIC, OTHER_COMPANY: BASIC})
    changes = companies.plan([COMPANY, OTHER_COMPANY], {}, NOW, 1000)
    assert {change.item.due_at for change in changes} == {NOW}
    assert {change.item.priority for change in changes} == {RANK_NUMBER}
    waiting = Item(
        f"kvk/numbers/{BRANCH}/vestigingsprofiel", "a", State.STORED, due_at=NOW - 1, stored_at=NOW - DAY_S
    )
    companies.follow({BRANCH: EVERYTHING})
    (kept,) = companies.plan([BRANCH], {waiting.key: waiting}, NOW)
    assert (kept.item.priority, kept.item.due_at) == (RANK_NUMBER, NOW - 1)


def test_a_part_that_two_lists_want_is_one_item_and_as_often_as_either_wants_it() -> None:
    both = BASIC | KvkTerms.of(["basisprofiel", "naamgeving"], 7 * DAY_S, "second")
    companies = companies_of({COMPANY: both})
    items = after(companies.plan([COMPANY], {}, NOW))
    assert {key: one.lane for key, one in items.items()} == {
        f"kvk/numbers/{COMPANY}/basisprofiel": "kvk/second/basisprofiel",
        f"kvk/numbers/{COMPANY}/naamgeving": "kvk/second/naamgeving",
    }
    of = registry({COMPANY: both})
    assert of.recheck_at(item(), NOW) == NOW + 7 * DAY_S


def test_each_part_has_its_own_interval_and_a_shorter_one_counts_at_once() -> None:
    terms = KvkTerms.of(["basisprofiel", "vestigingen"], 30 * DAY_S, "main", {"vestigingen": 7 * DAY_S})
    companies = companies_of({COMPANY: BASIC})
    stored = {
        key: Item(key, "kvk/main/basisprofiel", State.STORED, 40_000_001, NOW + 30 * DAY_S, stored_at=NOW)
        for key in (f"kvk/numbers/{COMPANY}/basisprofiel", f"kvk/numbers/{COMPANY}/vestigingen")
    }
    companies.follow({COMPANY: terms})
    planned = after(companies.plan([COMPANY], stored, NOW), stored)
    assert [((one.due_at or 0.0) - NOW) / DAY_S for one in planned.values()] == [30, 7]


def test_an_item_moves_to_the_lane_of_who_pays_now() -> None:
    companies = companies_of({COMPANY: BASIC})
    items = after(companies.plan([COMPANY], {}, NOW))
    companies.follow({COMPANY: KvkTerms.of(["basisprofiel"], 30 * DAY_S, "second")})
    (moved,) = companies.plan([COMPANY], items, NOW)
    assert moved.item.lane == "kvk/second/basisprofiel"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.ABSENT, "not_deliverable"),
        (State.STORED, "not_deliverable"),
        (State.QUARANTINED, "unknown_code"),
        (State.QUARANTINED, "refused_as_invalid"),
        (State.DUE, "being_processed"),
        (State.DUE, "not_deliverable_unproven"),
    ],
)
def test_what_kvk_answered_costs_no_second_call_however_often_a_lead_comes_and_goes(
    state: State, reason: str
) -> None:
    companies, key = companies_of({COMPANY: BASIC}), f"kvk/numbers/{COMPANY}/basisprofiel"
    known = Item(
        key, "kvk/main/basisprofiel", state, 40_000_001, NOW + 9 * DAY_S, reason=reason, stored_at=NOW
    )
    items = {key: known}
    for _ in range(3):
        companies.follow({})
        items = after(companies.plan([], items, NOW), items)
        companies.follow({COMPANY: BASIC})
        items = after(companies.plan([COMPANY], items, NOW), items)
        assert (items[key].due_at, items[key].reason) == (NOW + 9 * DAY_S, reason)


def test_what_comes_due_while_nobody_wants_it_is_put_off_without_a_call_and_then_left_alone() -> None:
    of, key = registry({}), f"kvk/numbers/{COMPANY}/basisprofiel"
    waiting = Item(key, "kvk/main/basisprofiel", State.ACTIVE, due_at=NOW, reason="not_deliverable")
    assert of.request(waiting, NOW) == Deferral("not_wanted", waiting.lane, NOW + DAY_S)
    put_off = {key: replace(waiting, state=State.DUE, due_at=NOW + DAY_S, reason="not_wanted")}
    (companies,) = of.companies
    assert after(companies.plan([], put_off, NOW), put_off)[key].due_at is None
    companies.follow({COMPANY: BASIC})
    assert after(companies.plan([COMPANY], put_off, NOW), put_off)[key].due_at == NOW


@pytest.mark.parametrize("state", [state for state in State if state not in LEASED_STATES])
def test_whoever_is_followed_no_more_is_left_alone_and_taken_up_again(state: State) -> None:
    companies = companies_of({COMPANY: BASIC})
    key = f"kvk/numbers/{COMPANY}/basisprofiel"
    known = {
        key: Item(key, "kvk/main/basisprofiel", state, due_at=NOW + DAY_S, stored_at=NOW, nothing_at=NOW)
    }
    companies.follow({})
    left = after(companies.plan([], known, NOW), known)
    assert left[key].due_at is None
    assert (left[key].state in HOLDING_STATES | EMPTY_STATES) == (state in HOLDING_STATES | EMPTY_STATES)
    assert companies.plan([], left, NOW) == []
    companies.follow({COMPANY: BASIC})
    again = after(companies.plan([COMPANY], left, NOW), left)
    assert again[key].due_at is not None
    assert again[key].state is not State.ABSENT
    assert companies.plan([COMPANY], again, NOW) == []


def test_what_is_worked_on_is_left_to_its_worker() -> None:
    companies = companies_of({COMPANY: BASIC})
    key = f"kvk/numbers/{COMPANY}/basisprofiel"
    for state in LEASED_STATES:
        known = {key: Item(key, "elsewhere", state, due_at=None)}
        assert companies.plan([COMPANY], known, NOW) == []
        assert companies.plan([], known, NOW) == []


@pytest.mark.parametrize(
    ("state", "reason", "due_at"),
    [
        (State.ABSENT, "not_deliverable", NOW + 30 * DAY_S),
        (State.STORED, "not_deliverable", NOW + 30 * DAY_S),
        (State.ABSENT, "parameter_refused", None),
        (State.STORED, "parameter_refused", None),
        (State.QUARANTINED, "unknown_code", NOW + 30 * DAY_S),
        (State.STORED, "number_refused", NOW + 30 * DAY_S),
        (State.ABSENT, FORGOTTEN_REASON, None),
    ],
)
def test_what_kvk_refused_costs_no_call_before_its_time_however_often_lists_are_read(
    state: State, reason: str, due_at: float | None
) -> None:
    companies = companies_of({COMPANY: KvkTerms.of(["basisprofiel"], DAY_S, "main")})
    key = f"kvk/numbers/{COMPANY}/basisprofiel"
    known = {key: Item(key, "kvk/main/basisprofiel", state, 40_000_001, due_at, reason=reason, stored_at=NOW)}
    assert companies.plan([COMPANY], known, NOW) == []


NUMBERS = st.sampled_from([COMPANY, OTHER_COMPANY, BRANCH, OTHER_BRANCH, RSIN])
TERMS = st.builds(
    KvkTerms.of,
    st.sets(st.sampled_from(PARTS)),
    st.sampled_from([DAY_S, 9 * DAY_S]),
    st.sampled_from(["main", "second"]),
)


@given(st.lists(st.dictionaries(NUMBERS, TERMS), min_size=1, max_size=6))
def test_however_lists_change_exactly_what_they_want_now_is_scheduled(
    story: list[dict[str, KvkTerms]],
) -> None:
    companies, items = companies_of({}), dict[str, Item]()
    for watched in story:
        companies.follow(watched)
        items = after(companies.plan(sorted(watched), items, NOW), items)
    wanted = {key for number in story[-1] for key in companies.keys(number)}
    assert {key for key, one in items.items() if one.due_at is not None} == wanted
    lanes = {spec.name for spec in registry().lanes()}
    for key in wanted:
        attempt = registry(story[-1]).request(items[key], NOW)
        assert isinstance(attempt, Attempt)
        assert attempt.lane == items[key].lane
        assert attempt.lane in lanes


def test_there_are_no_documents_beside_the_profiles() -> None:
    companies = companies_of()
    assert companies.document_keys([]) == ()
    assert companies.follow_ups(COMPANY, [], {}, frozenset(), NOW) == []


# ------------------------------------------------------------------------------------------------- leads


def test_bodies_name_the_numbers_in_their_facts() -> None:
    companies = companies_of()
    assert companies.named({"names": [BRANCH, OTHER_BRANCH]}) == (BRANCH, OTHER_BRANCH)
    assert companies.named({"name": "x"}) == ()


@pytest.mark.parametrize(
    ("key", "terms"),
    [
        (f"kvk/numbers/{COMPANY}/vestigingen", WITH_BRANCHES),
        (f"kvk/numbers/{COMPANY}/basisprofiel", None),
        (f"kvk/numbers/{OTHER_COMPANY}/vestigingen", None),
        (f"kvk/numbers/{RSIN}/zoeken", BASIC),
        ("kvk/numbers/123456782/zoeken", None),
    ],
)
def test_branches_follow_their_company_and_companies_their_rsin(key: str, terms: KvkTerms | None) -> None:
    companies = companies_of({})
    watched = {COMPANY: WITH_BRANCHES, OTHER_COMPANY: BASIC, RSIN: BASIC}
    assert companies.lead_terms(key, watched) == terms


@pytest.mark.parametrize("parts", [["vestigingen"], ["vestigingsprofiel"], ["basisprofiel"]])
def test_branches_are_not_followed_where_their_profiles_are_not_wanted(parts: list[str]) -> None:
    companies = companies_of({})
    watched = {COMPANY: KvkTerms.of(parts, DAY_S, "main")}
    assert companies.lead_terms(f"kvk/numbers/{COMPANY}/vestigingen", watched) is None


def test_what_a_search_finds_is_followed_on_the_terms_of_its_list() -> None:
    search, other = search_of({"naam": "molen"}), search_of({"naam": "gemaal"})
    (companies,) = registry({}, {"molens": SavedSearch(search, WITH_BRANCHES)}).companies
    assert companies.lead_terms(page(searches.folder_for("molens", search)).key, {}) == WITH_BRANCHES
    assert companies.lead_terms(page(searches.folder_for("molens", other)).key, {}) is None
    assert companies.lead_terms(page(searches.folder_for("wieken", search)).key, {}) is None
    companies.follow({COMPANY: BASIC})
    assert companies.lead_terms(page(searches.folder_for("molens", search)).key, {}) == WITH_BRANCHES


def test_every_key_that_may_lead_begins_like_one() -> None:
    companies = companies_of()
    keys = [f"kvk/numbers/{COMPANY}/vestigingen", f"kvk/numbers/{RSIN}/zoeken", page("molens-12345678").key]
    assert all(key.startswith(tuple(companies.lead_prefixes)) for key in keys)


# ------------------------------------------------------------------------------------------------- lanes, gate, accounts


def test_each_key_has_a_lane_for_each_product_and_all_pass_one_gate() -> None:
    of = registry(calls_per_s=20.0, concurrency=12)
    lanes = {spec.name: spec for spec in of.lanes()}
    assert len(lanes) == 8
    assert lanes["kvk/main/zoeken"] == LaneSpec(
        "kvk/main/zoeken", 20.0, 1, 12, ("credential:kvk",), gate="kvk", account="kvk/main", price_microeur=0
    )
    assert lanes["kvk/second/naamgeving"].price_microeur == 20_000
    assert {spec.gate for spec in lanes.values()} == {"kvk"}
    (gate,) = of.gates()
    assert (gate.name, gate.calls_per_s, gate.concurrency) == ("kvk", 20.0, 12)
    assert {spec.account for spec in lanes.values()} == {account.name for account in of.accounts()}


def test_an_account_says_what_may_be_spent_and_where_its_months_begin() -> None:
    main = replace(
        RULES.accounts[0], calls_per_month=1000, budget_per_month_microeur=5_000_000, is_spread=True
    )
    (account,) = registry(accounts=(main,)).accounts()
    assert (account.name, account.zone, account.calls_per_month) == ("kvk/main", "Europe/Amsterdam", 1000)
    assert (account.budget_per_month_microeur, account.is_spread) == (5_000_000, True)


def test_all_that_is_asked_for_terms_is_in_them() -> None:
    assert {want.part for want in EVERYTHING.wants} == {*PARTS, "zoeken"}
