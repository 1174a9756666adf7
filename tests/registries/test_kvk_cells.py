"""When a cell of a saved search is complete: pages that add up, pages that shift, cells that are split, cells that cannot be."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.lifecycle import Event, next_state
from filingd.core.model import Answer, Attempt, Deferral, Group, State
from filingd.core.watchlist import SavedSearch
from filingd.registries.kvk import cells, requests, searches
from filingd.registries.kvk.payloads import LEFT_OUT, TYPES
from filingd.registries.kvk.searches import KvkSearch, search_of
from registries.kvk_cases import DAY_S, EVERYTHING, NOW, RULES, SECOND, fault, page, registry, said
from registries.kvk_world import Firm, Mirror, Register

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

MOLENS = search_of({"naam": "molen"})
BY_TYPE_AND_TOWN = search_of(
    {"naam": "molen", "split": ["type", "plaats"], "plaatsen": ["Testdam", "Proefdam", "Waterdam"]}
)
FOLDER = searches.folder_for("molens", MOLENS)
INTERVAL_S = 30 * DAY_S


def firms(count: int, kind: str = "hoofdvestiging", town: str = "Testdam", first: int = 0) -> list[Firm]:
    return [Firm(f"99{first + n:06d}", f"9900{first + n:08d}", kind, town) for n in range(count)]


@contextmanager
def few_rows_visible() -> Iterator[None]:
    """Two rows a page and six in all, so that stories stay short."""
    with patch.multiple(cells, ROWS_PER_PAGE=2, MOST_ROWS=6), patch.object(requests, "ROWS_PER_PAGE", 2):
        yield


# ------------------------------------------------------------------------------------------------- asking


def test_the_first_page_of_a_search_is_expected_and_made_once() -> None:
    mirror = Mirror(MOLENS, Register([]))
    assert mirror.registry.expected(NOW) == [f"kvk/searches/{FOLDER}/all/1"]
    assert [(one.key, one.lane, one.due_at) for one in mirror.items.values()] == [
        (f"kvk/searches/{FOLDER}/all/1", "kvk/main/zoeken", NOW)
    ]
    assert mirror.registry.plan(NOW, mirror.items) == []


def test_a_page_is_asked_for_by_the_parameters_of_its_cell() -> None:
    of = registry({}, {"molens": SavedSearch(BY_TYPE_AND_TOWN, EVERYTHING)})
    folder = searches.folder_for("molens", BY_TYPE_AND_TOWN)
    attempt = of.request(page(folder, "type=rechtspersoon,plaats=Testdam", 3), NOW)
    assert isinstance(attempt, Attempt)
    query = "naam=molen&plaats=Testdam&type=rechtspersoon&pagina=3&resultatenPerPagina=100"
    assert attempt.url == f"{RULES.base_url}/v2/zoeken?{query}"
    assert (attempt.lane, attempt.route, attempt.headers) == (
        "kvk/main/zoeken", "zoeken/zoeken", (("Accept", "application/json"),)
    )  # fmt: skip
    assert (attempt.secret_header, attempt.is_document, attempt.shares_seal) == ("apikey", True, True)


def test_who_pays_and_how_often_is_said_by_the_terms_of_the_list_unless_the_search_says_how_often() -> None:
    terms = EVERYTHING.of([], 5 * DAY_S, SECOND.name)
    for search, interval_s in ((MOLENS, 5 * DAY_S), (replace(MOLENS, refresh_interval_s=DAY_S), DAY_S)):
        of = registry({}, {"molens": SavedSearch(search, terms)})
        (made,) = of.plan(NOW, {})
        assert made.item.lane == "kvk/second/zoeken"
        assert of.recheck_at(made.item, NOW) == NOW + interval_s


@pytest.mark.parametrize("cell", ["plaats=Elders", "type=hoofdvestiging"])
def test_a_cell_that_the_search_does_not_have_is_not_asked_for(cell: str) -> None:
    of = registry({}, {"molens": SavedSearch(MOLENS, EVERYTHING)})
    expected = Deferral("not_wanted", "kvk/main/zoeken", NOW + 86_400.0)
    assert of.request(page(FOLDER, cell), NOW) == expected
    assert of.judge(f"kvk/searches/{FOLDER}/{cell}", {}, NOW) is None


# ------------------------------------------------------------------------------------------------- complete


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250, 999, 1000])
def test_all_pages_are_fetched_and_no_more_and_the_cell_is_complete(count: int) -> None:
    mirror = Mirror(MOLENS, Register(firms(count)))
    mirror.work_until_quiet()
    assert mirror.judgement().reasons == ()
    assert mirror.judgement().facts == {"totaal": count, "rows": count, "repeated": 0}
    assert mirror.rows() == {firm.row for firm in mirror.register.firms}
    assert len(mirror.asked) == max(-(-count // 100), 1)


def test_a_row_that_stands_twice_on_one_page_is_there_twice() -> None:
    mirror = Mirror(MOLENS, Register([*firms(3), *firms(1)]))
    mirror.work_until_quiet()
    assert mirror.judgement().reasons == ()
    assert mirror.judgement().facts == {"totaal": 4, "rows": 3, "repeated": 1}


def test_rows_of_a_forgotten_number_still_add_up() -> None:
    mirror = Mirror(MOLENS, Register(firms(5)))
    mirror.work_until_quiet()
    key = f"kvk/searches/{FOLDER}/all/1"
    version = mirror.versions[key]
    left = {**version.facts, "rows": version.facts["rows"][:3], "left_out": 2}
    mirror.versions[key] = replace(version, facts=left)
    mirror.judge_open()
    assert mirror.judgement().reasons == ()
    assert LEFT_OUT == {"forgotten": True}


def test_a_search_that_finds_nothing_is_complete_and_asked_again() -> None:
    mirror = Mirror(MOLENS, Register([]))
    mirror.work_until_quiet()
    (item,) = mirror.items.values()
    assert (item.state, item.reason, item.due_at) == (State.EMPTY, "no_results", mirror.now + INTERVAL_S)
    assert mirror.judgement().facts["totaal"] == 0
    mirror.register.firms = firms(2)
    mirror.work(1)
    assert mirror.rows() == {firm.row for firm in mirror.register.firms}
    assert mirror.judgement().reasons == ()


@pytest.mark.parametrize(("before", "after"), [(250, 120), (120, 250), (250, 250), (250, 0), (100, 101)])
def test_a_search_that_finds_others_the_next_time_is_complete_again(before: int, after: int) -> None:
    mirror = Mirror(MOLENS, Register(firms(before)))
    mirror.work_until_quiet()
    mirror.register.firms = firms(after, first=50)
    mirror.now += INTERVAL_S
    mirror.work_until_quiet()
    assert mirror.judgement().reasons == ()
    assert mirror.judgement().facts["totaal"] == after
    held = [item for item in mirror.items.values() if item.state is State.STORED]
    assert len(held) == -(-after // 100), "a page that is not there any more is not held"
    assert mirror.judgement().facts["rows"] == after


@pytest.mark.parametrize(("before", "after"), [(250, 420), (420, 250)])
def test_what_was_said_last_counts_whichever_page_said_it(before: int, after: int) -> None:
    mirror = Mirror(MOLENS, Register(firms(before)))
    mirror.work_until_quiet()
    mirror.register.firms = firms(after)
    mirror.now += INTERVAL_S
    mirror.work(1)
    assert mirror.judgement().facts["totaal"] == after


# ------------------------------------------------------------------------------------------------- what does not add up


def test_rows_that_do_not_add_up_are_told_and_fetched_again_ever_later() -> None:
    # One row stands on either page and is no repetition: nobody can tell it from one that has shifted.
    mirror = Mirror(MOLENS, Register([*firms(99), *firms(2)]))
    mirror.work(2)
    assert mirror.judgement().reasons[0].startswith("100 rows are there, totaal says 101")
    waits = []
    for _ in range(8):
        due_at = {item.due_at or 0.0 for item in mirror.items.values()}
        waits.append(min(due_at) - mirror.now)
        mirror.work(2)
    assert waits[0] == pytest.approx(600.0, abs=1)
    assert all(later >= 1.5 * earlier for earlier, later in itertools.pairwise(waits[1:]))
    mirror.work(60)
    assert max(item.due_at or 0.0 for item in mirror.items.values()) <= mirror.now + INTERVAL_S + 1


def test_a_page_that_fails_keeps_the_cell_open_and_says_which() -> None:
    mirror = Mirror(MOLENS, Register(firms(250)))
    mirror.disturb = lambda url: said(500) if "pagina=2&" in url else None
    mirror.work(4)
    assert mirror.judgement().reasons == ("page 2: due (server_error_500)",)
    mirror.disturb = lambda _: None
    mirror.work_until_quiet()
    assert mirror.judgement().reasons == ()


@pytest.mark.parametrize("code", ["IPD0001", "IPD0005"])
def test_a_later_page_that_is_said_to_be_gone_is_asked_for_a_few_times_days_apart(code: str) -> None:
    mirror = Mirror(MOLENS, Register(firms(250)))
    mirror.disturb = lambda url: fault(code) if "pagina=2&" in url else None
    began_at = mirror.now
    mirror.work(3)
    assert mirror.judgement().reasons == ("page 2: due (not_deliverable)",)
    while mirror.now < began_at + 10 * DAY_S:
        mirror.work(1)
    assert len([url for url in mirror.asked if "pagina=2&" in url]) == 3
    mirror.disturb = lambda _: None
    mirror.work(20)
    assert mirror.judgement().reasons == ()


def test_until_the_first_page_has_come_nothing_is_said_of_the_others() -> None:
    mirror = Mirror(MOLENS, Register(firms(250)))
    mirror.disturb = lambda _: fault("IPD1003")
    mirror.work(2)
    assert mirror.judgement().reasons == ("page 1: due (temporarily_unavailable)",)
    assert len(mirror.items) == 1


# ------------------------------------------------------------------------------------------------- refused parameters


def test_a_refused_parameter_stops_the_whole_search_and_nothing_else() -> None:
    mirror = Mirror(MOLENS, Register(firms(450)))
    mirror.disturb = lambda url: fault("IPD1999", 400, "[naam]") if "pagina=3&" in url else None
    mirror.work(50)
    assert len(mirror.asked) == 3
    refused = mirror.items[f"kvk/searches/{FOLDER}/all/3"]
    assert (refused.state, refused.reason, refused.due_at) == (State.ABSENT, "parameter_refused", None)
    assert mirror.judgement().reasons[0].startswith("parameter_refused")
    assert {one.due_at for one in mirror.items.values() if one.state is State.ABSENT} == {None}
    mirror.plan()
    assert {one.due_at for one in mirror.items.values()} == {None}
    elsewhere = Mirror(search_of({"naam": "molen", "plaats": "Testdam"}), Register(firms(3)))
    elsewhere.registry = mirror.registry
    assert isinstance(elsewhere.registry.request(page(FOLDER, number=4), NOW), Deferral)


@pytest.mark.parametrize(
    "answer",
    [
        fault("IPD1999", 400, "ongeldig: [pagina]"),
        fault("IPD1998", 400),
        fault("IPD5203", 404),
        said(400, b"?"),
    ],
    ids=["pagina", "no name", "another code", "no code"],
)
def test_beyond_the_last_page_a_refusal_is_the_end_and_the_first_page_is_asked_for_again(
    answer: Answer,
) -> None:
    register = Register(firms(250))
    mirror = Mirror(MOLENS, register)
    mirror.work(1)
    register.firms = firms(180)
    mirror.disturb = lambda url: answer if "pagina=3&" in url else None
    mirror.work_until_quiet()
    assert mirror.judgement().reasons == ()
    assert mirror.rows() == {firm.row for firm in register.firms}
    assert len([url for url in mirror.asked if "pagina=3&" in url]) == 1


def test_a_page_that_is_refused_although_there_are_rows_on_it_keeps_the_cell_open() -> None:
    mirror = Mirror(MOLENS, Register(firms(250)))
    mirror.disturb = lambda url: fault("IPD1999", 400, "[pagina]") if "pagina=3&" in url else None
    mirror.work(30)
    assert mirror.judgement().reasons[0].startswith("200 rows are there, totaal says 250")
    assert len(mirror.asked) == 30, "it goes on"
    mirror.disturb = lambda _: None
    mirror.work(30)
    assert mirror.judgement().reasons == ()


def test_a_search_whose_first_page_is_refused_for_its_paging_is_stopped() -> None:
    mirror = Mirror(MOLENS, Register(firms(250)))
    mirror.disturb = lambda _: fault("IPD1999", 400, "[pagina]")
    mirror.work(5)
    assert len(mirror.asked) == 1
    assert mirror.judgement().reasons[0].startswith("parameter_refused")
    assert f"filingd items retry kvk/searches/{FOLDER}" in mirror.judgement().reasons[0]


def test_a_stopped_search_goes_on_when_an_operator_has_it_tried_again() -> None:
    mirror = Mirror(MOLENS, Register(firms(250)))
    mirror.disturb = lambda url: fault("IPD1999", 400, "[naam]") if "pagina=2&" in url else None
    mirror.work(20)
    assert mirror.judgement().reasons[0].startswith("parameter_refused")
    mirror.disturb = lambda _: None
    for key, item in mirror.items.items():
        mirror.items[key] = replace(
            item, state=next_state(item.state, Event.RETRIED), due_at=mirror.now, attempts=0
        )
    mirror.work_until_quiet()
    assert mirror.judgement().reasons == ()
    assert mirror.rows() == {firm.row for firm in mirror.register.firms}


def test_a_search_stays_stopped_after_a_restart_and_begins_anew_when_it_is_another_one() -> None:
    mirror = Mirror(MOLENS, Register(firms(3)))
    mirror.disturb = lambda _: fault("IPD1999", 400)
    mirror.work(5)
    restarted = registry({}, {"molens": SavedSearch(MOLENS, EVERYTHING)})
    assert restarted.plan(NOW, mirror.items) == []
    other = search_of({"naam": "molens"})
    (made,) = registry({}, {"molens": SavedSearch(other, EVERYTHING)}).plan(NOW, mirror.items)
    assert searches.folder_of(made.item.key) == searches.folder_for("molens", other)


# ------------------------------------------------------------------------------------------------- splitting


def everywhere(each: int) -> list[Firm]:
    places = [(kind, town) for kind in TYPES for town in ("Testdam", "Proefdam", "Waterdam")]
    return [firm for n, place in enumerate(places) for firm in firms(each, *place, first=n * each)]


def test_what_finds_too_much_is_split_until_every_cell_can_be_seen() -> None:
    mirror = Mirror(BY_TYPE_AND_TOWN, Register(everywhere(400)))
    mirror.work_until_quiet()
    assert mirror.reasons() == {}
    assert mirror.rows() == {firm.row for firm in mirror.register.firms}
    assert mirror.judgement().facts == {
        "totaal": 3600,
        "rows": 100,
        "repeated": 0,
        "split_along": "type",
        "cells": 3,
    }
    assert mirror.judgement("type=rechtspersoon").facts["split_along"] == "plaats"
    assert mirror.judgement("type=rechtspersoon,plaats=Waterdam").facts == {
        "totaal": 400,
        "rows": 400,
        "repeated": 0,
    }
    assert len(mirror.asked) == 1 + 3 + 9 * 4


def test_no_page_is_asked_for_that_cannot_be_seen() -> None:
    mirror = Mirror(BY_TYPE_AND_TOWN, Register(everywhere(400)))
    mirror.work_until_quiet()
    numbers = [int(url.split("pagina=")[1].split("&")[0]) for url in mirror.asked]
    assert max(numbers) * requests.ROWS_PER_PAGE <= 1000


def test_a_cell_that_cannot_be_split_is_told_with_its_total_and_the_others_are_complete() -> None:
    mirror = Mirror(BY_TYPE_AND_TOWN, Register([*everywhere(100), *firms(4711, first=10_000)]))
    mirror.work_until_quiet()
    assert mirror.reasons() == {
        "type=hoofdvestiging,plaats=Testdam": (
            "beyond_reach: totaal 4811, at most 1000 can be seen and no axis of `split` is left",
        )
    }
    assert mirror.judgement("type=nevenvestiging").reasons == ()


def test_a_search_without_axes_that_finds_too_much_is_beyond_reach() -> None:
    mirror = Mirror(MOLENS, Register(firms(1001)))
    mirror.work_until_quiet()
    assert mirror.judgement().reasons[0].startswith("beyond_reach: totaal 1001")
    assert len(mirror.asked) == 1


def test_a_split_is_open_until_each_of_its_cells_has_answered() -> None:
    mirror = Mirror(BY_TYPE_AND_TOWN, Register(everywhere(200)))
    mirror.disturb = lambda url: fault("IPD1003") if "type=rechtspersoon" in url else None
    mirror.work(12)
    assert mirror.judgement().reasons == ("totaal 1800: 1 of 3 cells along type have not answered yet",)


@pytest.mark.parametrize(("elsewhere", "gap"), [(0, False), (200, True)])
def test_a_split_that_lacks_a_value_is_told_where_its_cells_find_less(elsewhere: int, gap: bool) -> None:
    search = search_of({"naam": "molen", "split": ["plaats"], "plaatsen": ["Testdam", "Proefdam"]})
    register = Register(
        [*firms(700), *firms(700, town="Proefdam", first=700), *firms(elsewhere, town="Elders", first=2000)]
    )
    mirror = Mirror(search, register)
    mirror.work_until_quiet()
    groups = [
        Group(key, NOW, NOW, NOW, judgement.reasons, judgement.facts)
        for key, judgement in mirror.judgements.items()
    ]
    (companies,) = mirror.registry.companies
    told = "all: its cells along plaats find 1400 of 1600; list more values along which to split"
    assert companies.search_gaps(groups) == ([told] if gap else [])
    assert companies.search_gaps(groups[:1]) == []


# ------------------------------------------------------------------------------------------------- not wanted any more


def test_what_nobody_wants_any_more_is_left_alone_and_taken_up_again() -> None:
    mirror = Mirror(MOLENS, Register(firms(150)))
    mirror.work(1)
    (companies,) = mirror.registry.companies
    companies.follow({}, {})
    mirror.plan()
    assert {(one.state, one.due_at) for one in mirror.items.values()} == {
        (State.STORED, None),
        (State.ABSENT, None),
    }
    assert mirror.registry.expected(NOW) == []
    assert mirror.registry.judge(f"kvk/searches/{FOLDER}/all", {}, NOW) is None
    companies.follow({}, {"molens": SavedSearch(MOLENS, EVERYTHING)})
    mirror.plan()
    mirror.work_until_quiet()
    assert mirror.judgement().reasons == ()


def test_before_it_is_said_which_searches_there_are_nothing_is_changed() -> None:
    mirror = Mirror(MOLENS, Register(firms(150)))
    mirror.work(1)
    fresh = registry({})
    (companies,) = fresh.companies
    made = type(fresh)(RULES)
    assert made.plan(NOW, mirror.items) == []
    assert made.expected(NOW) == []
    companies.follow({})
    assert fresh.plan(NOW, mirror.items) != []


# ------------------------------------------------------------------------------------------------- any story


KINDS, TOWNS = st.sampled_from(TYPES), st.sampled_from(["Testdam", "Proefdam", "Waterdam", "Nergensdam"])
FIRMS = st.lists(st.tuples(KINDS, TOWNS), max_size=25).map(
    lambda places: [Firm(f"99{n:06d}", f"9900{n:08d}", *place) for n, place in enumerate(places)]
)
DISTURBANCES: dict[str, Answer | None] = {
    "none": None,
    "later": fault("IPD1003"),
    "broken": said(500),
    "throttled": said(429),
    "page": said(404, b"<html>"),
    "cut": Answer(transfer_reason="connection_lost"),
    "unknown": fault("IPD7777"),
}
SEARCHES = st.sampled_from(
    [
        MOLENS,
        BY_TYPE_AND_TOWN,
        search_of({"naam": "molen", "split": ["plaats"], "plaatsen": ["Testdam", "Proefdam"]}),
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    SEARCHES,
    FIRMS,
    FIRMS,
    st.randoms(use_true_random=False),
    st.lists(st.sampled_from(sorted(DISTURBANCES)), max_size=25),
)
def test_whatever_shifts_and_fails_each_cell_ends_complete_or_with_a_reason(
    search: KvkSearch, before: list[Firm], after: list[Firm], order: random.Random, story: list[str]
) -> None:
    """Rows come in another order with each answer, others are registered meanwhile, answers fail; then all is quiet."""
    with few_rows_visible():
        register = Register(before)
        mirror = Mirror(search, register)
        register.shuffle, left = order, list(story)
        mirror.disturb = lambda _: DISTURBANCES[left.pop()] if left else None
        mirror.work(15)
        register.firms = after
        mirror.work(15)
        register.shuffle, left[:] = None, []
        mirror.now += 2 * INTERVAL_S
        mirror.work_until_quiet()
        for _ in range(3):  # what was given up, or was told to wait, comes again
            mirror.now += 2 * INTERVAL_S
            mirror.work_until_quiet()
        check(mirror)


def _asked_for(search: KvkSearch, cell: str) -> dict[str, list[str]]:
    parameters = search.narrowed(cell)
    assert parameters is not None
    found: dict[str, list[str]] = {}
    for name, value in parameters:
        found.setdefault(name, []).append(value)
    return found


def check(mirror: Mirror) -> None:
    for group, judgement in mirror.judgements.items():
        cell = searches.cell_in(group)
        truth = mirror.register.found(_asked_for(mirror.search, cell))
        assert judgement.facts["totaal"] == len(truth)
        if len(truth) <= 6:
            assert judgement.reasons == ()
            assert judgement.facts["rows"] == len(truth)
        elif mirror.search.next_axis(cell) is None:
            assert judgement.reasons[0].startswith(f"beyond_reach: totaal {len(truth)}")
        else:
            children = mirror.search.children(cell)
            assert judgement.facts["cells"] == len(children)
            found = sum(len(mirror.register.found(_asked_for(mirror.search, child))) for child in children)
            lacks = f"totaal {len(truth)}, and {found} in all cells"
            assert [reason.startswith(lacks) for reason in judgement.reasons] == [True] * (found < len(truth))


@settings(max_examples=40, deadline=None)
@given(FIRMS, st.randoms(use_true_random=False))
def test_a_cell_is_never_called_complete_with_fewer_rows_than_there_are(
    firms: list[Firm], order: random.Random
) -> None:
    """As long as nobody is registered or leaves, pages may shift as they like."""
    with few_rows_visible():
        register = Register(firms)
        mirror = Mirror(MOLENS, register)
        register.shuffle = order
        for _ in range(40):
            mirror.work(1)
            if not mirror.judgement().reasons:
                assert mirror.judgement().facts["rows"] == len(firms)
                assert mirror.rows() >= {firm.row for firm in firms}
