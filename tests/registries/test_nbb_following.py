"""Companies that are followed: what is asked about them and when, and which of their documents are wanted."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core import calendar
from filingd.core.catalogue import Document, DocumentPlace, Entry, Filing, Listing, Source
from filingd.core.model import Change, Item, LaneSpec, State
from filingd.registries.nbb import companies, documents, improved_documents, timeline
from filingd.registries.nbb.families import AUTHENTIC, IMPROVED_DATA
from filingd.registries.nbb.ranks import RANK_COMPANY, RANK_FRESH, RANK_OLDER
from filingd.registries.nbb.registry import NbbRegistry
from filingd.registries.nbb.terms import NbbTerms
from registries.nbb_cases import BRUSSELS, DAY_S, EXTRACT, FRIDAY, HOUR_S, at_age, rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filingd.registries.nbb.following import Companies

QUERY, IMPROVED = LaneSpec("nbb/authentic-query", 2.0), LaneSpec("nbb/improved", 1.0)
NUMBER, OTHER = "0999000129", "0999000228"
NOW = at_age(FRIDAY, 2)
TODAY = calendar.day_at(NOW, BRUSSELS)
SINCE = dt.date(2026, 10, 1)  # as `rules()` has it
ALL_KINDS = frozenset({"json", "xbrl", "pdf"})
TERMS = NbbTerms(30 * DAY_S, ALL_KINDS)
LONG_AGO = dt.date(2024, 6, 24)


def followed(
    terms: NbbTerms = TERMS,
    *,
    mirrored: Sequence[str] = ("references",),
    improved: Sequence[str] | None = None,
    lanes: Iterable[LaneSpec] = (QUERY, IMPROVED),
    products: Sequence[str] = (),
) -> Companies:
    """Companies of a registry that mirrors these datasets and follows one company."""
    families = [replace(rules(*products), datasets=tuple(mirrored))]
    if improved is not None:
        lane = {"improved": IMPROVED, "improved-archive": LaneSpec("nbb/improved-archive", 1.0)}
        families.append(replace(rules(), family=IMPROVED_DATA, datasets=tuple(improved), products=lane))
    known = list(lanes)
    registry = NbbRegistry(
        families, QUERY if QUERY in known else None, IMPROVED if IMPROVED in known else None
    )
    registry.companies[0].follow({NUMBER: terms})
    return registry.companies[0]


def filing(deposited: dt.date = LONG_AGO, model: str = "m87-f", **more: Any) -> Filing:
    number = f"{deposited.year}-{deposited.toordinal():08d}"
    end = more.pop("exercise_end", f"{deposited.year - 1}-12-31")
    return Filing(more.pop("reference", number), NUMBER, deposit_date=deposited.isoformat(), exercise_end=end,
                  model=model, **more)  # fmt: skip


def by_answer(*filings: Filing) -> list[Entry]:
    """As the bank answered about the company."""
    return [entry(one) for one in filings]


def entry(
    *records: Filing, on: dt.date | None = None, held: Iterable[str] = (), family: str = "nbb/authentic"
) -> Entry:
    reference = records[0].reference
    source = Source(
        f"{family}/{on or 'by-number'}/references", 1, "x", family, on.isoformat() if on else None
    )
    places = [Document(DocumentPlace(reference, kind, 1), Source("k", 1, "x", family)) for kind in held]
    return Entry(reference, tuple(Listing(one, source, NUMBER) for one in records), tuple(places))


def wanted(
    of: Companies,
    entries: Sequence[Entry],
    known: Mapping[str, Item] | None = None,
    open_days: Iterable[dt.date] = (),
    now: float = NOW,
) -> dict[str, Change]:
    groups = {f"nbb/{family}/{day}" for day in open_days for family in ("authentic", "improved")}
    changes = of.follow_ups(NUMBER, entries, known or {}, groups, now)
    return {change.item.key: change for change in changes}


def kinds_wanted(of: Companies, entries: Sequence[Entry], **more: Any) -> set[str]:
    return {key.rpartition("/")[2] for key in wanted(of, entries, **more)}


def planned(of: Companies, known: Mapping[str, Item] | None = None, now: float = NOW) -> dict[str, Change]:
    return {change.item.key: change for change in of.plan([NUMBER], known or {}, now)}


FILINGS_KEY = companies.key_for(NUMBER, companies.FILINGS)
IMPROVED_KEY = companies.key_for(NUMBER, companies.IMPROVEMENTS)

# ------------------------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("improved", "lanes", "keys"),
    [
        (False, [QUERY, IMPROVED], [FILINGS_KEY]),
        (True, [QUERY, IMPROVED], [FILINGS_KEY, IMPROVED_KEY]),
        (True, [QUERY], [FILINGS_KEY]),
        (True, [IMPROVED], [IMPROVED_KEY]),
        (True, [], []),
    ],
)
def test_what_is_asked_follows_from_terms_and_subscriptions(
    improved: bool, lanes: list[LaneSpec], keys: list[str]
) -> None:
    of = followed(replace(TERMS, improved=improved), lanes=lanes)
    assert list(of.keys(NUMBER)) == keys
    assert list(planned(of)) == keys
    assert of.keys(OTHER) == ()


def test_the_lane_and_the_rank_of_a_new_company_come_after_all_daily_work() -> None:
    change = planned(followed(replace(TERMS, improved=True)))
    assert {key: (c.before, c.item.lane, c.item.state, c.item.due_at) for key, c in change.items()} == {
        FILINGS_KEY: (None, QUERY.name, State.DUE, NOW),
        IMPROVED_KEY: (None, IMPROVED.name, State.DUE, NOW + 2.0),
    }
    assert {c.item.priority for c in change.values()} == {RANK_COMPANY}


def test_new_companies_are_spread_over_the_time_that_half_a_lane_needs_for_them() -> None:
    of = followed()
    numbers = [f"{number:010d}" for number in range(100)]
    of.follow(dict.fromkeys(numbers, TERMS))
    first, second = of.plan(numbers[:50], {}, NOW), of.plan(numbers[50:], {}, NOW, ahead=50)
    due = [change.item.due_at for change in (*first, *second)]
    assert due == [NOW + position / (QUERY.calls_per_s / 2) for position in range(100)]


def stored(key: str, stored_at: float, **more: Any) -> Item:
    return Item(
        key, QUERY.name, more.pop("state", State.STORED), RANK_COMPANY, stored_at=stored_at, version=1, **more
    )


@pytest.mark.parametrize(
    ("known", "due_at"),
    [
        (stored(FILINGS_KEY, NOW - DAY_S, due_at=NOW + 29 * DAY_S), None),
        (stored(FILINGS_KEY, NOW - DAY_S, due_at=NOW + 60 * DAY_S), NOW + 30 * DAY_S),
        (stored(FILINGS_KEY, NOW - DAY_S, due_at=None, reason="not_wanted"), NOW + 29 * DAY_S),
        (stored(FILINGS_KEY, NOW - 90 * DAY_S, due_at=None), NOW),
        (Item(FILINGS_KEY, "nbb/extract", State.EMPTY, 0, None, nothing_at=NOW - DAY_S), NOW + 29 * DAY_S),
        (Item(FILINGS_KEY, "nbb/extract", State.ABSENT, 0, None, reason="no_route"), NOW),
        (Item(FILINGS_KEY, QUERY.name, State.ACTIVE, 0, None), None),
        (Item(FILINGS_KEY, QUERY.name, State.DUE, RANK_COMPANY, NOW + 5.0), None),
        (Item(FILINGS_KEY, "nbb/extract", State.DUE, 3, NOW + 5.0), NOW + 5.0),
    ],
    ids=["in time", "interval was shortened", "followed again", "long overdue", "empty and followed again",
         "given up without a key", "in hand", "waiting", "waits in the wrong place"],
)  # fmt: skip
def test_an_item_that_exists_is_put_in_its_place(known: Item, due_at: float | None) -> None:
    changes = planned(followed(), {FILINGS_KEY: known})
    if due_at is None:
        assert changes == {}
        return
    change = changes[FILINGS_KEY]
    assert (change.before, change.item.due_at) == (known.state, due_at)
    assert (change.item.lane, change.item.priority, change.item.reason) == (QUERY.name, RANK_COMPANY, None)
    assert planned(followed(), {FILINGS_KEY: change.item}) == {}, "planning twice changes nothing"


def test_who_is_followed_no_more_is_asked_for_no_more_and_what_is_had_stays() -> None:
    key = companies.key_for(OTHER, companies.FILINGS)
    waiting, had = Item(key, QUERY.name, State.DUE, due_at=NOW), stored(key, NOW, due_at=NOW + 1)
    (gone,) = followed().plan([], {key: waiting}, NOW)
    (kept,) = followed().plan([], {key: had}, NOW)
    assert (gone.item.state, gone.item.due_at) == (State.ABSENT, None)
    assert (kept.item.state, kept.item.due_at, kept.item.version) == (State.STORED, None, 1)


# ------------------------------------------------------------------------------------------------- which documents


def test_the_documents_of_a_filing_are_wanted_by_kind() -> None:
    one = filing()
    changes = wanted(followed(NbbTerms(documents=frozenset({"json", "pdf"}))), by_answer(one))
    assert list(changes) == [documents.key_for(one.reference, kind) for kind in ("json", "pdf")]
    for change in changes.values():
        assert change.before is None
        assert (change.item.lane, change.item.state, change.item.due_at) == (QUERY.name, State.DUE, NOW)


@pytest.mark.parametrize(
    ("record", "kinds"),
    [
        (filing(), {"json", "xbrl", "pdf"}),
        (filing(model="m02-f-p"), {"pdf"}),
        (filing(dt.date(2022, 4, 3)), {"xbrl", "pdf"}),
        (filing(dt.date(2022, 4, 4)), {"json", "xbrl", "pdf"}),
        (filing(dt.date(2007, 3, 31)), {"pdf"}),
        (filing(dt.date(2007, 4, 1)), {"xbrl", "pdf"}),
        (filing(dt.date(1997, 12, 31)), {"pdf"}),
        (filing(dt.date(1979, 6, 30)), {"pdf"}),
        (replace(filing(), deposit_date=None), {"json", "xbrl", "pdf"}),
        (replace(filing(), deposit_date="9999-01-01"), {"json", "xbrl", "pdf"}),
        (replace(filing(), model=None), {"json", "xbrl", "pdf"}),
        (filing(reference="../../etc"), set()),
    ],
)
def test_what_model_and_date_explain_is_not_asked_for(record: Filing, kinds: set[str]) -> None:
    assert kinds_wanted(followed(), by_answer(record)) == kinds


def years_of(latest: int, *records: Filing) -> set[str]:
    changes = wanted(followed(replace(TERMS, latest=latest)), by_answer(*records))
    return {key.split("/")[2][:4] for key in changes}


def test_the_newest_exercises_are_told_by_their_end_whatever_was_deposited_last() -> None:
    history = [filing(dt.date(year, 6, 24)) for year in range(2015, 2025)]
    assert years_of(0, *history) == {str(year) for year in range(2015, 2025)}
    assert years_of(3, *history) == {"2022", "2023", "2024"}
    late_correction = filing(dt.date(2025, 1, 8), exercise_end="2020-12-31")
    assert years_of(1, *history, late_correction) == {"2024"}
    correction_of_newest = filing(dt.date(2025, 1, 8), exercise_end="2023-12-31")
    assert years_of(1, *history, correction_of_newest) == {"2024", "2025"}


def test_a_filing_that_says_nothing_of_its_exercise_goes_by_its_deposit() -> None:
    old, new = (
        filing(dt.date(2023, 6, 1), exercise_end=None),
        filing(dt.date(2024, 6, 1), exercise_end="9999-01-01"),
    )
    assert years_of(1, old, new) == {"2024"}


def test_what_is_held_already_is_not_asked_for() -> None:
    assert kinds_wanted(followed(), [entry(filing(), held=["json", "pdf"])]) == {"xbrl"}


def test_a_company_nobody_follows_wants_nothing() -> None:
    of = followed()
    of.follow({OTHER: TERMS})
    assert wanted(of, by_answer(filing())) == {}
    assert wanted(followed(lanes=[IMPROVED]), by_answer(filing())) == {}


def test_all_of_it_comes_after_the_whole_daily_work() -> None:
    oldest, newest = dt.date(1978, 1, 1), TODAY - dt.timedelta(days=1)
    ranks = [
        timeline.priority_at(rules(), day, dataset, NOW)
        for day in (oldest, newest, FRIDAY)
        for dataset in ALL_KINDS
    ]
    assert max(ranks) < RANK_FRESH < RANK_COMPANY < RANK_OLDER


def test_fresh_filings_come_first_then_the_newest_exercises() -> None:
    fresh, young, old = (
        filing(TODAY - dt.timedelta(days=3)),
        filing(dt.date(2025, 6, 1)),
        filing(dt.date(2012, 6, 1)),
    )
    changes = wanted(followed(), by_answer(fresh, young, old))
    ranks = {key.split("/")[2]: change.item.priority for key, change in changes.items()}
    assert ranks == {
        fresh.reference: RANK_FRESH,
        young.reference: RANK_OLDER + 2,
        old.reference: RANK_OLDER + 15,
    }


# ------------------------------------------------------------------------------------------------- what days bring

MIRRORED = ("references", "json")
YESTERDAY = TODAY - dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("on", "open_days", "products", "is_wanted"),
    [
        (FRIDAY, [], (), False),
        (FRIDAY, [FRIDAY], (), False),
        (FRIDAY - dt.timedelta(days=45), [FRIDAY - dt.timedelta(days=45)], (EXTRACT,), True),
        (FRIDAY - dt.timedelta(days=45), [], (EXTRACT,), False),
        (SINCE - dt.timedelta(days=1), [], (), True),
    ],
    ids=[
        "sealed",
        "open",
        "open, and nobody serves it any more",
        "sealed in time",
        "before what is mirrored",
    ],
)
def test_what_the_zip_of_a_listed_day_brings_is_left_to_it(
    on: dt.date, open_days: list[dt.date], products: tuple[str, ...], is_wanted: bool
) -> None:
    of = followed(mirrored=MIRRORED, products=products)
    kinds = kinds_wanted(of, [entry(filing(on), on=on)], open_days=open_days)
    assert kinds == {"xbrl", "pdf"} | ({"json"} if is_wanted else set())


LAG_DAYS = 10


@pytest.mark.parametrize(
    ("deposited", "open_days", "is_wanted"),
    [
        (TODAY - dt.timedelta(days=LAG_DAYS), [], False),
        (TODAY - dt.timedelta(days=LAG_DAYS + 1), [], True),
        (TODAY - dt.timedelta(days=30), [TODAY - dt.timedelta(days=20)], False),
        (TODAY - dt.timedelta(days=30), [TODAY - dt.timedelta(days=19)], True),
        (SINCE - dt.timedelta(days=4), [SINCE], False),
        (SINCE - dt.timedelta(days=4), [], True),
        (SINCE - dt.timedelta(days=LAG_DAYS + 1), [SINCE], True),
        (LONG_AGO, [], True),
    ],
)
def test_what_no_day_lists_yet_is_waited_for_while_a_day_may_bring_it(
    deposited: dt.date, open_days: list[dt.date], is_wanted: bool
) -> None:
    of = followed(mirrored=MIRRORED)
    kinds = kinds_wanted(of, by_answer(filing(deposited)), open_days=open_days)
    assert kinds == {"xbrl", "pdf"} | ({"json"} if is_wanted else set())


def test_a_new_filing_that_the_references_of_a_day_tell_of_is_asked_for_at_once_where_only_those_are_mirrored() -> (
    None
):
    changes = wanted(
        followed(mirrored=("references",)), [entry(filing(YESTERDAY), on=YESTERDAY)], open_days=[YESTERDAY]
    )
    assert {key.rpartition("/")[2] for key in changes} == ALL_KINDS
    assert {change.item.priority for change in changes.values()} == {RANK_FRESH}


# ------------------------------------------------------------------------------------------------- items that exist


def document(kind: str = "json", **more: Any) -> Item:
    fields: dict[str, Any] = {"state": State.DUE, "priority": RANK_OLDER, "due_at": NOW + 60.0} | more
    return Item(documents.key_for(filing().reference, kind), QUERY.name, **fields)


@pytest.mark.parametrize(
    "item",
    [
        document(),
        document(state=State.ACTIVE, due_at=None),
        document(state=State.EMPTY, nothing_at=NOW - 1, due_at=NOW + 90 * DAY_S),
        document(state=State.QUARANTINED),
        document(state=State.STORED, stored_at=NOW - 1, due_at=None),
        document(priority=5),
    ],
    ids=lambda item: item.state.name,
)
def test_what_exists_and_is_wanted_is_left_as_it_is(item: Item) -> None:
    assert item.key not in wanted(followed(), by_answer(filing()), {item.key: item})


def test_what_was_given_up_is_taken_up_again() -> None:
    item = document(state=State.ABSENT, due_at=None, reason="not_wanted", attempts=2)
    change = wanted(followed(), by_answer(filing()), {item.key: item})[item.key]
    assert change.before is State.ABSENT
    assert (change.item.state, change.item.due_at, change.item.reason, change.item.attempts) == (
        State.DUE,
        NOW,
        None,
        0,
    )


@pytest.mark.parametrize(
    ("priority", "is_dropped"), [(RANK_OLDER, True), (RANK_FRESH, True), (20_000_000, False)]
)
def test_what_nobody_wants_any_more_is_dropped_but_not_what_a_day_wants(
    priority: int, is_dropped: bool
) -> None:
    item = document("xbrl", priority=priority)
    changes = wanted(followed(NbbTerms(documents=frozenset({"json"}))), by_answer(filing()), {item.key: item})
    assert (item.key in changes) == is_dropped
    if is_dropped:
        assert changes[item.key].item.state is State.ABSENT


def test_all_keys_that_may_be_wanted_are_named() -> None:
    of = followed(replace(TERMS, improved=True))
    entries = [entry(filing(), replace(filing(), variant="corrected", improvement_date="2024-08-01"))]
    assert wanted(of, entries).keys() <= set(of.document_keys(entries))
    assert of.document_keys([entry(filing(reference="odd/../one"))]) == []


# ------------------------------------------------------------------------------------------------- improved data

MADE_ON = dt.date(2026, 10, 20)


def improved_entry(
    made_on: dt.date = MADE_ON, kind: str = "corrected", on: dt.date | None = None, base: Filing | None = None
) -> Entry:
    base = base or filing()
    line = replace(base, variant=kind, improvement_date=made_on.isoformat())
    own = entry(base)
    listed = entry(line, on=on, family="nbb/improved")
    return Entry(base.reference, own.listings + listed.listings, ())


def improved_key(kind: str = "corrected") -> str:
    return improved_documents.key_for(filing().reference, kind)


IMPROVED_TERMS = NbbTerms(documents=frozenset(), improved=True)


@pytest.mark.parametrize("kind", ["corrected", "euro_converted", "pdf_extracted"])
def test_each_improvement_that_is_listed_is_wanted(kind: str) -> None:
    changes = wanted(followed(IMPROVED_TERMS), [improved_entry(kind=kind)])
    assert list(changes) == [improved_key(kind)]
    assert changes[improved_key(kind)].item.lane == IMPROVED.name
    assert wanted(followed(TERMS), [improved_entry(kind=kind)]).keys().isdisjoint({improved_key(kind)})
    assert wanted(followed(IMPROVED_TERMS, lanes=[QUERY]), [improved_entry(kind=kind)]) == {}


def improvement_alone(kind: str = "corrected", **more: Any) -> Entry:
    """A filing that nothing but its improvement is known of."""
    return entry(replace(filing(**more), variant=kind, improvement_date=MADE_ON.isoformat()))


@pytest.mark.parametrize("lanes", [[IMPROVED], [QUERY, IMPROVED]])
def test_an_improvement_of_a_filing_that_is_listed_nowhere_else_is_wanted(lanes: list[LaneSpec]) -> None:
    changes = wanted(followed(IMPROVED_TERMS, lanes=lanes), [improvement_alone()])
    assert list(changes) == [improved_key()]


def test_the_newest_exercises_are_told_by_improvements_where_nothing_else_is_known() -> None:
    of = followed(replace(IMPROVED_TERMS, latest=1), lanes=[IMPROVED])
    old, new = improvement_alone(deposited=dt.date(2023, 6, 24)), improvement_alone()
    assert list(wanted(of, [old, new])) == [improved_key()]


def test_an_improvement_nobody_knows_is_not_asked_for() -> None:
    assert wanted(followed(IMPROVED_TERMS), [improved_entry(kind="restated")]) == {}


def test_figures_read_out_of_a_pdf_are_asked_for_although_no_line_says_so() -> None:
    pdf, old = filing(model="m02-f-p"), filing(dt.date(2016, 6, 1), model="m02-f-p")
    assert list(wanted(followed(IMPROVED_TERMS), by_answer(pdf))) == [improved_key("pdf_extracted")]
    assert list(wanted(followed(IMPROVED_TERMS), by_answer(old))) == [
        improved_documents.key_for(old.reference, "pdf_extracted")
    ]
    with_figures = filing(dt.date(2016, 6, 1), model="m87-f")
    assert wanted(followed(IMPROVED_TERMS), by_answer(with_figures)) == {}


@pytest.mark.parametrize(
    ("made_on", "open_days", "improved", "is_wanted"),
    [
        (MADE_ON, [], ("references", "json"), False),
        (MADE_ON, [MADE_ON], ("references", "json"), False),
        (MADE_ON, [MADE_ON], ("references",), True),
        (MADE_ON, [], None, True),
        (SINCE - dt.timedelta(days=1), [], ("references", "json"), True),
    ],
)
def test_what_the_improved_zips_bring_is_left_to_them(
    made_on: dt.date, open_days: list[dt.date], improved: Sequence[str] | None, is_wanted: bool
) -> None:
    of = followed(IMPROVED_TERMS, improved=improved)
    assert bool(wanted(of, [improved_entry(made_on)], open_days=open_days)) == is_wanted


def opened_at(day: dt.date) -> float:
    return calendar.instant_of(calendar.later_by(day, 1), dt.time(5), BRUSSELS)


def had(stored_at: float, due_at: float | None = None) -> dict[str, Item]:
    item = Item(
        improved_key(), IMPROVED.name, State.STORED, RANK_OLDER, due_at, stored_at=stored_at, version=1
    )
    return {item.key: item}


def test_a_document_that_was_improved_again_is_asked_for_again_once() -> None:
    of, entries = followed(IMPROVED_TERMS), [improved_entry()]
    assert wanted(of, entries, had(opened_at(MADE_ON))) == {}
    (change,) = wanted(of, entries, had(opened_at(MADE_ON) - 1)).values()
    assert (change.before, change.item.state, change.item.due_at) == (State.STORED, State.STORED, NOW)
    assert wanted(of, entries, {change.item.key: change.item}) == {}, "it waits"
    compared = replace(change.item, due_at=NOW + 90 * DAY_S)  # as a comparison leaves it that found the same
    assert wanted(of, entries, {compared.key: compared}) == {}
    again = [improved_entry(TODAY)]
    assert wanted(of, again, {compared.key: compared}) == {}, "not to be had before tomorrow"
    tomorrow = opened_at(TODAY) + HOUR_S
    assert list(wanted(of, again, {compared.key: compared}, now=tomorrow)) == [compared.key]


# ------------------------------------------------------------------------------------------------- in general

DATES = st.dates(dt.date(1978, 1, 1), TODAY)
MODELS = st.sampled_from(["m87-f", "m02-f-p", "m01-f", "m900-p", None])
RECORDS = st.lists(st.builds(filing, DATES, MODELS), max_size=6, unique_by=lambda one: one.reference)
ANY_TERMS = st.builds(
    NbbTerms,
    st.just(DAY_S),
    st.frozensets(st.sampled_from(sorted(ALL_KINDS))),
    st.integers(0, 3),
    st.booleans(),
)


@given(
    RECORDS,
    ANY_TERMS,
    st.sampled_from([("references",), MIRRORED, AUTHENTIC.datasets]),
    st.sets(DATES, max_size=4),
)
def test_asking_twice_changes_nothing_more_and_more_is_never_wanted_for_less(
    records: list[Filing], terms: NbbTerms, mirrored: tuple[str, ...], open_days: set[dt.date]
) -> None:
    of, entries = followed(terms, mirrored=mirrored), by_answer(*records)
    first = wanted(of, entries, open_days=open_days)
    items = {key: change.item for key, change in first.items()}
    assert wanted(of, entries, items, open_days=open_days) == {}
    assert items.keys() <= set(of.document_keys(entries))
    wider = followed(terms | NbbTerms(documents=ALL_KINDS), mirrored=mirrored)
    assert items.keys() <= wanted(wider, entries, open_days=open_days).keys()
    of.follow({})
    left = wanted(of, entries, items, open_days=open_days)
    assert {change.item.state for change in left.values()} <= {State.ABSENT}
    assert left.keys() == items.keys(), "and nothing is wanted of whom nobody follows"
