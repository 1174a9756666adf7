"""What holds of every registry's companies, on the fake and on the real one: so the engine is tested on what is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from fakes.registry import FakeCompanies
from filingd.core.catalogue import Document, DocumentPlace, Entry, Filing, Listing, Source
from filingd.core.model import LEASED_STATES, Change, Item, LaneSpec, State
from filingd.core.watchlist import CompanyNumberError
from filingd.registries.kvk.registry import KvkRegistry
from filingd.registries.nbb.registry import NbbRegistry
from filingd.registries.nbb.terms import NbbTerms
from registries.kvk_cases import EVERYTHING, RULES
from registries.nbb_cases import FRIDAY, at_age, rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.ports import Companies

NOW = at_age(FRIDAY, 1)
# By registry: numbers as people write them, in plain form, in order.
NUMBERS = {
    "fake": {"12.34": "1234", "5678": "5678"},
    "nbb": {"BE 0999.000.129": "0999000129", "999000228": "0999000228"},
    "kvk": {"VEST 38509504": "000038509504", "6959.9084": "69599084", "RSIN 859123455": "859123455"},
}
TERMS: dict[str, Any] = {"fake": NbbTerms(), "nbb": NbbTerms(), "kvk": EVERYTHING}
BAD_NUMBERS = ["", "abc", "1", "0999.000.128x"]
WITH_DOCUMENTS = ["fake", "nbb"]  # those that know documents of companies, which come one by one


def companies_of(kind: str) -> Companies:
    if kind == "fake":
        return FakeCompanies()
    if kind == "kvk":
        return KvkRegistry(RULES).companies[0]
    return NbbRegistry(
        [replace(rules(), datasets=("references",))], LaneSpec("nbb/authentic-query", 1.0)
    ).companies[0]


@pytest.fixture(params=["fake", "nbb", "kvk"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def companies(kind: str) -> Companies:
    made = companies_of(kind)
    made.follow(dict.fromkeys(NUMBERS[kind].values(), TERMS[kind]))
    return made


@pytest.fixture
def numbers(kind: str) -> list[str]:
    return list(NUMBERS[kind].values())


def after(changes: Sequence[Change], known: Mapping[str, Item] | None = None) -> dict[str, Item]:
    """The items as they are when the changes are recorded; each was in the state the change says."""
    items = dict(known or {})
    for change in changes:
        found = items.get(change.item.key)
        assert change.before == (found.state if found else None)
        items[change.item.key] = change.item
    return items


def entries(number: str, *references: str, held: bool = False) -> list[Entry]:
    source = Source("a/list", 1, "a/list.json", "a")
    made = []
    for reference in references:
        filing = Filing(
            reference, number, deposit_date="2024-06-24", exercise_end="2023-12-31", model="m87-f"
        )
        places = [Document(DocumentPlace(reference, kind, 1), source) for kind in ("json", "pdf") if held]
        made.append(Entry(reference, (Listing(filing, source, number),), tuple(places)))
    return made


def test_numbers_come_in_their_plain_form_however_they_are_written(companies: Companies, kind: str) -> None:
    for written, number in NUMBERS[kind].items():
        assert companies.plain_number(written) == number
        assert companies.plain_number(number) == number


@pytest.mark.parametrize("text", BAD_NUMBERS)
def test_what_is_no_number_is_refused_in_whole_sentences(companies: Companies, text: str) -> None:
    with pytest.raises(CompanyNumberError, match=r"^[A-Z].*\.$"):
        companies.plain_number(text)


def test_keys_tell_the_company_and_keep_the_order_of_numbers(
    companies: Companies, numbers: list[str]
) -> None:
    keys = [key for number in numbers for key in companies.keys(number)]
    assert keys == sorted(keys)
    assert len(keys) >= len(numbers)
    for number in numbers:
        for key in companies.keys(number):
            assert key.startswith(f"{companies.prefix}{number}/")
            assert companies.number_of(key) == number


def test_planning_makes_what_is_wanted_and_planning_twice_changes_nothing(
    companies: Companies, numbers: list[str]
) -> None:
    items = after(companies.plan(numbers, {}, NOW))
    assert items.keys() == {key for number in numbers for key in companies.keys(number)}
    assert all(item.state is State.DUE and item.due_at is not None for item in items.values())
    assert companies.plan(numbers, items, NOW + 1) == []


@pytest.mark.parametrize("kind", WITH_DOCUMENTS)
def test_new_items_come_one_after_the_other_also_over_several_parts(
    companies: Companies, numbers: list[str]
) -> None:
    whole = [change.item.due_at for change in companies.plan(numbers, {}, NOW)]
    first = [change.item.due_at for change in companies.plan(numbers[:1], {}, NOW)]
    second = [change.item.due_at for change in companies.plan(numbers[1:], {}, NOW, len(first))]
    assert first + second == whole == sorted(set(whole), key=lambda due_at: due_at or 0.0)


@pytest.mark.parametrize("state", list(State))
def test_whoever_is_followed_no_more_is_left_alone_and_taken_up_again(
    companies: Companies, kind: str, numbers: list[str], state: State
) -> None:
    if state in LEASED_STATES:
        return
    number = numbers[0]
    due_at = None if state is State.ABSENT else NOW
    items = {
        key: Item(key, "a", state, due_at=due_at, stored_at=NOW, nothing_at=NOW)
        for key in companies.keys(number)
    }
    companies.follow({})
    assert companies.keys(number) == [] or companies.keys(number) == ()
    left = after(companies.plan([], items, NOW), items)
    assert all(item.due_at is None for item in left.values())
    assert all((item.state is State.STORED) == (state is State.STORED) for item in left.values())
    companies.follow({number: TERMS[kind]})
    again = after(companies.plan([number], left, NOW), left)
    assert all(item.due_at is not None and item.state is not State.ABSENT for item in again.values())


@pytest.mark.parametrize("kind", WITH_DOCUMENTS)
def test_documents_that_are_not_held_are_wanted_once(companies: Companies, numbers: list[str]) -> None:
    number = numbers[0]
    filings = entries(number, "2024-00000001", "2024-00000002")
    items = after(companies.follow_ups(number, filings, {}, frozenset(), NOW))
    assert items.keys() <= set(companies.document_keys(filings))
    assert {key.split("/")[2] for key in items} == {"2024-00000001", "2024-00000002"}
    assert companies.follow_ups(number, filings, items, frozenset(), NOW + 1) == []
    assert (
        companies.follow_ups(number, entries(number, "2024-00000003", held=True), {}, frozenset(), NOW) == []
    )


@pytest.mark.parametrize("kind", WITH_DOCUMENTS)
def test_documents_of_a_company_that_is_followed_no_more_are_dropped(
    companies: Companies, numbers: list[str]
) -> None:
    number = numbers[0]
    filings = entries(number, "2024-00000001")
    items = after(companies.follow_ups(number, filings, {}, frozenset(), NOW))
    companies.follow({})
    left = after(companies.follow_ups(number, filings, items, frozenset(), NOW), items)
    assert {item.state for item in left.values()} == {State.ABSENT}


# By registry: facts of a body for which another record speaks.
SPOKEN_FOR: dict[str, dict[str, Any]] = {
    "fake": {"parents": ["1234"]},
    "nbb": {},
    "kvk": {"kvk_number": "69599084"},
}


def test_who_speaks_for_a_body_is_a_record_of_a_company(companies: Companies, kind: str) -> None:
    facts = SPOKEN_FOR[kind]
    speakers = companies.spoken_for(facts)
    assert len(speakers) == len(facts)
    assert all(companies.number_of(key) in NUMBERS[kind].values() for key in speakers)
    assert all(key.startswith(companies.prefix) for key in speakers)


def test_nobody_speaks_for_a_body_that_names_nobody(companies: Companies) -> None:
    assert list(companies.spoken_for({})) == []
