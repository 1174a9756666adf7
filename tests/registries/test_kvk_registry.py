"""KVK as one registry: where bodies lie, which keys there are, what it has no answer for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.model import Item, Version
from filingd.core.watchlist import SavedSearch, SearchError
from filingd.registries.kvk import profiles, searches
from filingd.registries.kvk.searches import search_of
from registries.kvk_cases import (
    BODIES,
    BRANCH,
    COMPANY,
    DAY_S,
    EVERYTHING,
    NOW,
    RSIN,
    item,
    page,
    registry,
)

REGISTRY = registry()


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("kvk/numbers/69599084/basisprofiel", "kvk/numbers/6959/908/69599084.basisprofiel.json"),
        ("kvk/numbers/69599084/vestigingen", "kvk/numbers/6959/908/69599084.vestigingen.json"),
        ("kvk/numbers/859123455/zoeken", "kvk/numbers/8591/234/859123455.zoeken.json"),
        ("kvk/numbers/000038509504/vestigingsprofiel", "kvk/numbers/0000/385/000038509504.vestigingsprofiel.json"),
        ("kvk/searches/molens-1f0c2a9b/all/1", "kvk/searches/molens-1f0c2a9b/all/1.json"),
        ("kvk/searches/a%20b-1f0c2a9b/type=rechtspersoon,plaats=Den%20Haag/10",
         "kvk/searches/a%20b-1f0c2a9b/type=rechtspersoon,plaats=Den%20Haag/10.json"),
    ],
)  # fmt: skip
def test_a_body_lies_where_its_key_says_and_tells_its_key(key: str, target: str) -> None:
    assert REGISTRY.target(key) == target
    assert REGISTRY.key_of(target) == key


@pytest.mark.parametrize(
    "target",
    [
        "kvk/numbers/6959/908/69599084.json",
        "kvk/numbers/6959/908/69599084.zoeken.json",
        "kvk/numbers/6959/908/69599084.vestigingsprofiel.json",
        "kvk/numbers/6959/999/69599084.basisprofiel.json",
        "kvk/numbers/0000/385/000038509504.basisprofiel.json",
        "kvk/numbers/8591/234/859123455.basisprofiel.json",
        "kvk/numbers/6959/908/6959908.basisprofiel.json",
        "kvk/searches/molens/all/1.json",
        "kvk/searches/molens-1f0c2a9b/all/0.json",
        "kvk/searches/molens-1f0c2a9b/all/11.json",
        "kvk/searches/molens-1f0c2a9b/all/day.json",
        "kvk/searches/molens-1f0c2a9b/all/SHA256SUMS",
        "kvk/searches/molens-1f0c2a9b/1.json",
        "kvk/elsewhere/1.json",
        "nbb/documents/2026/00999/2026-00999001.json",
        "kvk",
        "",
    ],
)
def test_what_is_no_body_of_ours_has_no_key(target: str) -> None:
    assert REGISTRY.key_of(target) is None


NUMBERS = st.one_of(*(st.integers(0, 10**digits - 1).map(f"{{:0{digits}d}}".format) for digits in (8, 9, 12)))


@given(NUMBERS, st.data())
def test_every_key_of_a_number_is_told_by_its_body_and_keys_keep_the_order_of_numbers(
    number: str, data: st.DataObject
) -> None:
    part = data.draw(st.sampled_from(profiles.parts_of(number)))
    other = data.draw(NUMBERS)
    key = profiles.key_for(number, part)
    assert REGISTRY.key_of(REGISTRY.target(key)) == key
    assert profiles.number_of(key) == number
    assert (f"kvk/numbers/{number}/" < f"kvk/numbers/{other}/") == (number < other)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.integers(1, 10))
def test_every_key_of_a_search_is_told_by_its_body_whatever_its_name_and_town(text: str, number: int) -> None:
    search = search_of({"naam": "molen"})
    key = searches.key_for(searches.folder_for(text, search), searches.cell_of([("plaats", text)]), number)
    assert key.count("/") == 4
    assert REGISTRY.key_of(REGISTRY.target(key)) == key
    assert searches.values_of(searches.cell_in(key)) == (("plaats", text),)


def test_every_body_is_json_within_bounds_that_is_read_and_compared() -> None:
    for key in (*(item(part).key for part in BODIES), item("zoeken", RSIN).key, page("molens-1f0c2a9b").key):
        plan = registry(max_body_bytes=1000).body_plan(key)
        assert (plan.max_bytes, plan.accept) == (1000, frozenset({"json"}))
        assert plan.read is not None
        assert plan.content_digest is not None


def test_numbers_are_never_judged_nor_planned_with_the_searches() -> None:
    assert REGISTRY.judge(f"kvk/numbers/{COMPANY}", {}, NOW) is None
    known = {f"kvk/numbers/{COMPANY}/basisprofiel": item()}
    assert REGISTRY.plan(NOW, known) == []
    assert REGISTRY.expected(NOW) == []


def test_there_are_no_filings_here() -> None:
    class Untouched:
        """A body that nobody looks into."""

        members = ()

        def read(self, member: object = None) -> bytes:
            raise AssertionError

    version = Version(item().key, 1, "x", 1, b"", NOW, "basisprofiel/basisprofiel", "r")
    assert REGISTRY.contribution(version, Untouched()) is None
    assert REGISTRY.resolving("2026-00999001", NOW) is None


def test_what_is_asked_for_again_follows_its_terms() -> None:
    search = search_of({"naam": "molen"})
    of = registry({BRANCH: EVERYTHING}, {"molens": SavedSearch(search, EVERYTHING)})
    folder = searches.folder_for("molens", search)
    expected: list[tuple[Item, float | None]] = [
        (item("vestigingsprofiel", BRANCH), NOW + 30 * DAY_S),
        (item(), None),
        (page(folder), NOW + 30 * DAY_S),
        (page("molens-00000000"), None),
    ]
    for wanted, at in expected:
        assert of.recheck_at(wanted, NOW) == at


def test_its_companies_know_searches_and_refuse_wrong_ones() -> None:
    (companies,) = REGISTRY.companies
    assert companies.search_of({"naam": "molen"}).words() == ["naam molen"]
    with pytest.raises(SearchError):
        companies.search_of({"molen": "x"})
