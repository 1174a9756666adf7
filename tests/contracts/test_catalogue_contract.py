"""What anybody may rely on of any catalogue: the same suite on the fake and on SQLite, with and without an index of names.

At the end the two are compared after whatever order of arrivals, replacements, removals and restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from fakes.catalogue import FakeCatalogue
from filingd.adapters.catalogue import SqliteCatalogue
from filingd.core.catalogue import (
    ANY_VARIANT,
    Contributed,
    Contribution,
    DocumentPlace,
    Filing,
    Forgotten,
    NameFragmentError,
    NameHit,
    Repeated,
    Source,
    Totals,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from filingd.ports import Catalogue

FAMILY, IMPROVED = "nbb/authentic", "nbb/improved"
FRIDAY, SATURDAY = "2026-11-20", "2026-11-21"
ALFA, BETA = "0999000129", "0999000228"
ONE, TWO, THREE = "2026-00999001", "2026-00999002", "2016-99500017"


@pytest.fixture(params=["fake", "sqlite", "sqlite without an index of names"])
async def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalogue]:
    made: Catalogue
    if request.param == "fake":
        made = FakeCatalogue()
    else:
        indexed = request.param == "sqlite"
        made = await SqliteCatalogue.open(tmp_path / "catalogue.db", with_name_index=indexed)
    yield made
    await made.close()


def a_source(leaf: str, day: str | None = FRIDAY, version: int = 1, family: str = FAMILY) -> Source:
    key = f"{family}/{day}/{leaf}"
    return Source(key, version, f"{key}.zip", family, day)


def a_filing(reference: str = ONE, **fields: Any) -> Filing:
    """A filing with every field set, unless another value is given."""
    full = Filing(
        reference=reference, enterprise=ALFA, enterprise_name="VOORBEELD ALFA", deposit_date="2026-06-24",
        exercise_start="1900-01-01", exercise_end="2025-12-31", model="m87-f", deposit_type="Initial",
        language="NL", currency="EUR", legal_form="610", data_version="Authentic", improvement_date="",
        corrected_data="AA", offers_document=True, unknown={"SupersededBy": {"é": [1, 2.5, None, 2**70]}},
        member=f"{reference}-reference.json", row=3,
    )  # fmt: skip
    return replace(full, **fields)


def a_place(reference: str = ONE, kind: str = "json", **fields: Any) -> DocumentPlace:
    full = DocumentPlace(
        reference, kind, size_bytes=900, member=f"sub/{reference}.{kind}", offset=5_000_000_000, packed_bytes=300,
        method=8, crc32=0xFEDCBA98,
    )  # fmt: skip
    return replace(full, **fields)


def listing(
    *filings: Filing, day: str | None = FRIDAY, version: int = 1, family: str = FAMILY
) -> Contribution:
    return Contribution(a_source("references", day, version, family), filings=filings)


def holding(
    *places: DocumentPlace,
    leaf: str = "json",
    day: str | None = FRIDAY,
    version: int = 1,
    family: str = FAMILY,
) -> Contribution:
    return Contribution(a_source(leaf, day, version, family), places=places)


async def take(catalogue: Catalogue, *contributions: Contribution) -> None:
    for contribution in contributions:
        await catalogue.contribute(contribution)


async def references_of(catalogue: Catalogue, enterprise: str = ALFA) -> list[str]:
    return [entry.reference for entry in await catalogue.filings_of(enterprise)]


# ---------------------------------------------------------------- what goes in comes out


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reference": "2016-1", "member": None, "row": 0},
        {"reference": "x y", "unknown": {}},
        {"reference": "0026-00000001", "member": "0026-00000001.json"},
        {"enterprise": "BE 12", "deposit_date": "20260624", "exercise_end": "9999-01-01"},
        {"deposit_date": "0001-01-01", "exercise_start": None, "exercise_end": "2026-02-30", "improvement_date": "2026-07-02"},
        {"enterprise_name": "", "variant": "corrected", "offers_document": None},
        {"enterprise_name": "a\x00b 'quoted\" ", "legal_form": "\x00", "offers_document": False},
    ],
)  # fmt: skip
async def test_a_filing_comes_back_as_it_was_filed(catalogue: Catalogue, changes: dict[str, Any]) -> None:
    filing = a_filing(**changes)
    await take(catalogue, listing(filing))
    entry = await catalogue.entry(filing.reference)
    assert entry is not None
    (found,) = entry.listings
    assert (found.filing, found.source, found.enterprise) == (
        filing,
        a_source("references"),
        filing.enterprise,
    )


async def test_a_filing_of_which_nothing_is_known_but_its_reference_comes_back(catalogue: Catalogue) -> None:
    await take(catalogue, listing(Filing(ONE)))
    entry = await catalogue.entry(ONE)
    assert entry is not None
    assert entry.listings[0].filing == Filing(ONE)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"member": f"{ONE}.json", "packed_bytes": 900, "method": 0, "crc32": 0},
        {"member": None, "offset": 0, "packed_bytes": 900, "method": 0, "crc32": None},
        {"variant": "corrected", "crc32": 1 << 31, "size_bytes": 0},
        {"reference": "x", "kind": "pdf", "crc32": (1 << 31) - 1},
    ],
)
async def test_a_place_comes_back_as_it_was_given(catalogue: Catalogue, changes: dict[str, Any]) -> None:
    place = a_place(**changes)
    await take(catalogue, holding(place))
    entry = await catalogue.entry(place.reference)
    assert entry is not None
    (found,) = entry.documents
    assert (found.place, found.source) == (place, a_source("json"))


async def test_a_source_that_belongs_to_no_day_comes_back(catalogue: Catalogue) -> None:
    asked = Contribution(a_source("answer", None), filings=(a_filing(),))
    await take(catalogue, asked)
    entry = await catalogue.entry(ONE)
    assert entry is not None
    assert entry.listings[0].source == asked.source


async def test_what_nothing_is_known_of_is_not_there(catalogue: Catalogue) -> None:
    assert await catalogue.entry(ONE) is None
    assert await catalogue.filings_of(ALFA) == []
    assert await catalogue.names_like("voorbeeld", 10) == []
    assert await catalogue.undocumented(FAMILY, FRIDAY, "json") == []
    assert await catalogue.unlisted(FAMILY, FRIDAY) == []
    assert await catalogue.repeated(FAMILY, FRIDAY) == []
    assert await catalogue.parked(10) == []
    assert await catalogue.sources() == {}
    assert await catalogue.totals() == Totals()


async def test_a_filing_that_an_item_lists_twice_is_there_twice(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing(row=0), a_filing(row=1, enterprise_name="OTHER")))
    entry = await catalogue.entry(ONE)
    assert entry is not None
    assert [one.filing.row for one in entry.listings] == [0, 1]


# ---------------------------------------------------------------- versions


async def test_the_same_version_again_changes_nothing(catalogue: Catalogue) -> None:
    first = await catalogue.contribute(listing(a_filing(), a_filing(TWO)))
    again = await catalogue.contribute(listing(a_filing(THREE)))
    assert first == Contributed(True, filings=2)
    assert again == Contributed(False, filings=2, filings_before=2)
    assert await catalogue.entry(THREE) is None


async def test_an_older_version_that_comes_late_changes_nothing(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing(), version=2), listing(a_filing(TWO), version=1))
    assert await references_of(catalogue) == [ONE]
    assert await catalogue.sources() == {f"{FAMILY}/{FRIDAY}/references": 2}


async def test_a_newer_version_takes_the_place_of_the_older_and_says_what_vanished(
    catalogue: Catalogue,
) -> None:
    await take(catalogue, listing(a_filing(), a_filing(TWO)))
    done = await catalogue.contribute(listing(a_filing(THREE), a_filing(TWO, language="FR"), version=3))
    assert done == Contributed(True, filings=2, filings_before=2, vanished=(ONE,))
    assert await catalogue.entry(ONE) is None
    changed = await catalogue.entry(TWO)
    assert changed is not None
    assert [one.filing.language for one in changed.listings] == ["FR"]
    assert await catalogue.totals() == Totals(sources=1, filings=2)


async def test_an_item_that_turns_out_empty_is_known_to_be_read(catalogue: Catalogue) -> None:
    await take(catalogue, holding(a_place()))
    assert await catalogue.contribute(holding(version=2)) == Contributed(
        True, places_before=1, vanished=(ONE,)
    )
    assert await catalogue.sources() == {f"{FAMILY}/{FRIDAY}/json": 2}
    assert await catalogue.totals() == Totals(sources=1)


async def test_dropping_an_item_takes_out_what_it_brought_and_nothing_else(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing()), listing(a_filing(), day=SATURDAY), holding(a_place()))
    await catalogue.drop([f"{FAMILY}/{FRIDAY}/references", "nothing/of/the/kind"])
    entry = await catalogue.entry(ONE)
    assert entry is not None
    assert [one.source.published_on for one in entry.listings] == [SATURDAY]
    assert len(entry.documents) == 1
    assert await catalogue.totals() == Totals(sources=2, filings=1, places=1)


async def test_a_dropped_item_may_come_back(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing()))
    await catalogue.drop([f"{FAMILY}/{FRIDAY}/references"])
    assert await catalogue.names_like("voorbeeld", 5) == []
    await take(catalogue, listing(a_filing()))
    assert await references_of(catalogue) == [ONE]
    assert len(await catalogue.names_like("voorbeeld", 5)) == 1


async def test_sources_are_asked_for_by_the_beginning_of_their_keys(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing()), holding(day=SATURDAY), listing(family=IMPROVED))
    assert await catalogue.sources(f"{FAMILY}/") == {
        f"{FAMILY}/{FRIDAY}/references": 1,
        f"{FAMILY}/{SATURDAY}/json": 1,
    }
    assert len(await catalogue.sources()) == 3


# ---------------------------------------------------------------- filings of an enterprise


async def test_the_filings_of_an_enterprise_come_newest_first_with_all_their_documents(
    catalogue: Catalogue,
) -> None:
    await take(
        catalogue,
        holding(a_place(), a_place(TWO)),
        listing(a_filing(THREE, deposit_date="2016-07-01"), a_filing(), a_filing(TWO, enterprise=BETA)),
        holding(a_place(kind="pdf"), leaf="pdf"),
        listing(a_filing("2024-00999009", deposit_date="9999-01-01")),
    )
    found = await catalogue.filings_of(ALFA)
    assert [entry.reference for entry in found] == [ONE, THREE]
    assert [one.place.kind for one in found[0].documents] == ["json", "pdf"]
    assert found[1].documents == ()


async def test_versions_and_improvements_of_a_filing_stand_together(catalogue: Catalogue) -> None:
    await take(
        catalogue,
        listing(a_filing()),
        listing(a_filing(variant="corrected"), day=SATURDAY, family=IMPROVED),
        holding(a_place(variant="corrected"), day=SATURDAY, family=IMPROVED),
        holding(a_place()),
    )
    (entry,) = await catalogue.filings_of(ALFA)
    assert [one.source.family for one in entry.listings] == [IMPROVED, FAMILY]
    authentic, corrected = entry.document("json"), entry.document("json", "corrected")
    assert authentic is not None
    assert corrected is not None
    assert (authentic.source.family, corrected.source.family) == (FAMILY, IMPROVED)


async def test_a_filing_without_a_number_is_parked_until_another_record_gives_one(
    catalogue: Catalogue,
) -> None:
    await take(catalogue, listing(a_filing(enterprise=None), a_filing(TWO, enterprise=None)))
    assert [one.filing.reference for one in await catalogue.parked(10)] == [ONE, TWO]
    assert await catalogue.filings_of(ALFA) == []
    asked = Contribution(a_source("answer", None), filings=(a_filing(),))
    await take(catalogue, asked)
    (entry,) = await catalogue.filings_of(ALFA)
    assert [(one.filing.enterprise, one.enterprise) for one in entry.listings] == [(None, ALFA), (ALFA, ALFA)]
    assert [one.filing.reference for one in await catalogue.parked(10)] == [TWO]
    assert [one.enterprise for one in await catalogue.undocumented(FAMILY, FRIDAY, "json")] == [ALFA, None]
    await catalogue.drop([asked.source.key])
    assert len(await catalogue.parked(10)) == 2


async def test_parked_filings_are_bounded(catalogue: Catalogue) -> None:
    await take(catalogue, listing(*(a_filing(f"2026-{n:08}", enterprise=None) for n in range(9))))
    assert [one.filing.reference for one in await catalogue.parked(2)] == ["2026-00000000", "2026-00000001"]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "fragment", ["bakkerij", "ERIJ d'É", "boulangér", "  Alfa &", "'t", 't "Hoek', "erĳ"]
)
async def test_a_name_is_found_by_any_part_whatever_its_case_and_accents(
    catalogue: Catalogue, fragment: str
) -> None:
    names = ["BAKKERIJ D’ÉTÉ", "Boulangerie", "Café ALFA  & Zonen", '\'t "Hoekje"']  # noqa: RUF001 - real names hold such marks
    await take(
        catalogue, listing(*(a_filing(f"2026-{n:08}", enterprise_name=name) for n, name in enumerate(names)))
    )
    if fragment == "'t":
        with pytest.raises(NameFragmentError):
            await catalogue.names_like(fragment, 10)
        return
    assert len(await catalogue.names_like(fragment, 10)) == 1


async def test_letters_that_are_all_there_but_apart_are_no_hit(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing(enterprise_name="abcd bcde")))
    assert await catalogue.names_like("abcde", 10) == []
    assert len(await catalogue.names_like("abc", 10)) == 1


async def test_a_hit_says_whose_name_it_is_and_of_how_many_filings(catalogue: Catalogue) -> None:
    await take(
        catalogue,
        listing(a_filing(), a_filing(TWO), a_filing(THREE, enterprise=None)),
        listing(a_filing(), day=SATURDAY),
    )
    assert await catalogue.names_like("alfa", 10) == [
        NameHit("VOORBEELD ALFA", None, 1, THREE),
        NameHit("VOORBEELD ALFA", ALFA, 2, ONE),
    ]


async def test_hits_are_bounded(catalogue: Catalogue) -> None:
    filings = [a_filing(f"2026-{n:08}", enterprise_name=f"IMMO {n}") for n in range(20)]
    await take(catalogue, listing(*filings))
    assert len(await catalogue.names_like("immo", 7)) == 7
    assert len(await catalogue.names_like("immo", 50)) == 20


async def test_a_name_that_no_record_carries_any_more_is_not_found(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing(enterprise_name="OUDE NAAM"), a_filing(TWO)))
    await take(catalogue, listing(a_filing(enterprise_name="NIEUWE NAAM"), a_filing(TWO), version=2))
    assert [hit.name for hit in await catalogue.names_like("naam", 10)] == ["NIEUWE NAAM"]
    assert len(await catalogue.names_like("voorbeeld", 10)) == 1


# ---------------------------------------------------------------- what a day lacks


async def test_a_day_names_the_filings_it_lists_and_holds_no_document_of(catalogue: Catalogue) -> None:
    await take(
        catalogue,
        listing(a_filing(), a_filing(TWO), a_filing(THREE)),
        listing(a_filing("2026-00000004"), day=SATURDAY),
        holding(a_place(TWO)),
        holding(a_place(ONE, kind="pdf"), leaf="pdf"),
    )
    missing = await catalogue.undocumented(FAMILY, FRIDAY, "json")
    assert [one.filing.reference for one in missing] == [THREE, ONE]
    assert [one.filing.reference for one in await catalogue.undocumented(FAMILY, FRIDAY, "pdf")] == [
        THREE,
        TWO,
    ]
    assert len(await catalogue.undocumented(FAMILY, FRIDAY, "xbrl")) == 3


async def test_a_document_that_was_asked_for_by_itself_completes_the_day(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing()), holding(a_place(member=None), leaf=f"{ONE}/json", day=None))
    assert await catalogue.undocumented(FAMILY, FRIDAY, "json") == []


async def test_a_document_of_another_family_completes_nothing(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing()), holding(a_place(), family=IMPROVED))
    assert len(await catalogue.undocumented(FAMILY, FRIDAY, "json")) == 1


async def test_an_improved_record_wants_the_document_of_its_kind_and_day(catalogue: Catalogue) -> None:
    corrected = a_filing(variant="corrected")
    await take(
        catalogue,
        listing(corrected, family=IMPROVED),
        holding(a_place(variant="pdf_extracted"), family=IMPROVED),
        holding(a_place(variant="corrected"), family=IMPROVED, day=SATURDAY),
    )
    assert len(await catalogue.undocumented(IMPROVED, FRIDAY, "json")) == 1
    unlisted = [one.place.variant for one in await catalogue.unlisted(IMPROVED, FRIDAY)]
    assert unlisted == ["pdf_extracted"]
    assert len(await catalogue.unlisted(IMPROVED, SATURDAY)) == 1
    await take(catalogue, holding(a_place(variant=ANY_VARIANT), family=IMPROVED, version=2))
    assert await catalogue.undocumented(IMPROVED, FRIDAY, "json") == []
    assert await catalogue.unlisted(IMPROVED, FRIDAY) == []


async def test_documents_that_no_record_speaks_of_are_named(catalogue: Catalogue) -> None:
    await take(
        catalogue,
        listing(a_filing(), day=SATURDAY),
        holding(a_place(), a_place(TWO, offset=1), a_place(THREE, offset=2)),
    )
    assert [one.place.reference for one in await catalogue.unlisted(FAMILY, FRIDAY)] == [TWO, THREE]


async def test_a_filing_that_days_list_more_than_once_is_named(catalogue: Catalogue) -> None:
    await take(
        catalogue,
        listing(a_filing(), a_filing(TWO, row=0), a_filing(TWO, row=1), a_filing(THREE)),
        listing(a_filing(), day=SATURDAY),
        Contribution(a_source("answer", None), filings=(a_filing(THREE),)),
        listing(a_filing(THREE), family=IMPROVED),
    )
    friday, saturday = (f"{FAMILY}/{day}/references" for day in (FRIDAY, SATURDAY))
    assert await catalogue.repeated(FAMILY, FRIDAY) == [
        Repeated(ONE, None, (friday, saturday)),
        Repeated(TWO, None, (friday, friday)),
    ]
    assert await catalogue.repeated(FAMILY, SATURDAY) == [Repeated(ONE, None, (friday, saturday))]


async def test_a_correction_of_another_day_is_no_repetition(catalogue: Catalogue) -> None:
    first = a_filing(variant="corrected", improvement_date=FRIDAY)
    later = replace(first, improvement_date=SATURDAY)
    await take(catalogue, listing(first, family=IMPROVED), listing(later, family=IMPROVED, day=SATURDAY))
    assert await catalogue.repeated(IMPROVED, FRIDAY) == []


# ---------------------------------------------------------------- forgetting


async def test_a_forgotten_filing_is_gone_and_does_not_come_back(catalogue: Catalogue) -> None:
    await take(
        catalogue,
        listing(a_filing(), a_filing(TWO, enterprise_name="ANDERE NAAM")),
        holding(a_place(), a_place(TWO)),
    )
    assert await catalogue.forget(Forgotten(references=frozenset({TWO}))) == (TWO,)
    assert await catalogue.entry(TWO) is None
    assert await catalogue.names_like("andere naam", 5) == []
    assert await catalogue.totals() == Totals(sources=2, filings=1, places=1)
    await take(catalogue, listing(a_filing(TWO), day=SATURDAY), holding(a_place(TWO), version=2))
    assert await catalogue.entry(TWO) is None
    assert await catalogue.totals() == Totals(sources=3, filings=1)


async def test_a_forgotten_enterprise_takes_all_its_filings_with_it(catalogue: Catalogue) -> None:
    await take(
        catalogue,
        listing(a_filing(), a_filing(TWO, enterprise=BETA, enterprise_name="BETA")),
        listing(a_filing(enterprise=None), day=SATURDAY),
        holding(a_place(), a_place(TWO)),
    )
    assert await catalogue.forget(Forgotten(enterprises=frozenset({ALFA}))) == (ONE,)
    assert await catalogue.entry(ONE) is None
    assert await catalogue.parked(5) == []
    assert await catalogue.names_like("voorbeeld", 5) == []
    assert await references_of(catalogue, BETA) == [TWO]


async def test_a_later_filing_of_a_forgotten_enterprise_is_withheld_and_told_of(catalogue: Catalogue) -> None:
    await catalogue.forget(Forgotten(enterprises=frozenset({ALFA})))
    await take(catalogue, holding(a_place(), a_place(TWO)), listing(a_filing(enterprise=None), day=SATURDAY))
    done = await catalogue.contribute(listing(a_filing(), a_filing(TWO, enterprise=BETA)))
    assert done == Contributed(True, filings=1, withheld=(ONE,))
    assert await catalogue.entry(ONE) is None
    assert await catalogue.totals() == Totals(sources=3, filings=1, places=1)


async def test_what_is_forgotten_is_not_told_of_when_its_item_is_replaced(catalogue: Catalogue) -> None:
    await take(catalogue, listing(a_filing(), a_filing(TWO)))
    await catalogue.forget(Forgotten(references=frozenset({ONE})))
    assert await catalogue.contribute(listing(version=2)) == Contributed(
        True, filings_before=1, vanished=(TWO,)
    )


# ---------------------------------------------------------------- many at once


async def test_calls_that_come_together_are_all_answered(catalogue: Catalogue) -> None:
    days = [f"2026-10-{day:02}" for day in range(1, 29)]
    done = await asyncio.gather(*(catalogue.contribute(listing(a_filing(), day=day)) for day in days))
    assert all(one.is_new for one in done)
    assert await catalogue.totals() == Totals(sources=28, filings=28)


async def test_a_large_item_is_replaced_as_a_whole(catalogue: Catalogue) -> None:
    filings = [a_filing(f"2026-{n:08}", enterprise_name=f"NAAM {n % 300}") for n in range(3_000)]
    await take(catalogue, listing(*filings))
    done = await catalogue.contribute(listing(*filings[:1000], version=2))
    assert (done.filings_before, done.filings, len(done.vanished)) == (3_000, 1_000, 2_000)
    assert len(await catalogue.filings_of(ALFA)) == 1_000


# ---------------------------------------------------------------- against the model

REFERENCES = [ONE, TWO, THREE, "2026-1", "x", "0026-00000001"]
NAMES = [None, "", "CAFÉ ALFA", "café alfa", "BETA & ZONEN", "De Bètaboer"]
DAYS = [FRIDAY, SATURDAY, None]
VARIANTS = [None, "corrected", "pdf_extracted", ANY_VARIANT]


def made(struct: Callable[..., Any], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of a kind; `st.builds` would want to resolve annotations that exist for type checkers alone."""
    return st.fixed_dictionaries(fields).map(lambda drawn: struct(**drawn))


a_record = made(
    Filing,
    reference=st.sampled_from(REFERENCES),
    enterprise=st.sampled_from([None, ALFA, BETA, "odd"]),
    enterprise_name=st.sampled_from(NAMES),
    deposit_date=st.sampled_from([None, "2026-06-24", "2016-07-01", "1900-01-01", "?"]),
    model=st.sampled_from(["m87-f", "m02-f-p"]),
    improvement_date=st.sampled_from([None, FRIDAY]),
    variant=st.sampled_from(VARIANTS),
    row=st.integers(0, 300),
)
a_document = made(
    DocumentPlace,
    reference=st.sampled_from(REFERENCES),
    kind=st.sampled_from(["json", "pdf"]),
    size_bytes=st.integers(0, 2**33),
    variant=st.sampled_from(VARIANTS),
    member=st.none() | st.sampled_from([f"{ONE}.json", "x.json", "y"]),
    offset=st.integers(0, 2**40),
    packed_bytes=st.integers(0, 2**33),
    method=st.sampled_from([0, 8]),
    crc32=st.none() | st.integers(0, 2**32 - 1),
)
a_contribution = made(
    Contribution,
    source=made(
        a_source,
        leaf=st.sampled_from(["references", "json"]),
        day=st.sampled_from(DAYS),
        version=st.integers(1, 4),
        family=st.sampled_from([FAMILY, IMPROVED]),
    ),
    filings=st.lists(a_record, max_size=5, unique_by=lambda one: one.row).map(tuple),
    places=st.lists(a_document, max_size=5, unique_by=lambda one: one.offset).map(tuple),
)


class CatalogueComparison(RuleBasedStateMachine):
    """SQLite answers every question as the model does that looks at everything."""

    with_name_index = True

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = contextlib.ExitStack()
        self.path = Path(self.cleanup.enter_context(tempfile.TemporaryDirectory()), "catalogue.db")
        self.runner = self.cleanup.enter_context(asyncio.Runner())
        self.model = FakeCatalogue()
        self.real = self.opened()

    def opened(self) -> SqliteCatalogue:
        catalogue: SqliteCatalogue = self.run(
            SqliteCatalogue.open(
                self.path, forgotten=self.model.forgotten, with_name_index=self.with_name_index
            )
        )
        return catalogue

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def both(self, method: str, *arguments: Any) -> None:
        expected = self.run(getattr(self.model, method)(*arguments))
        assert _plain(self.run(getattr(self.real, method)(*arguments))) == _plain(expected), method

    @rule(contribution=a_contribution)
    def an_item_arrives(self, contribution: Contribution) -> None:
        self.both("contribute", contribution)

    @rule(
        leaf=st.sampled_from(["references", "json"]),
        day=st.sampled_from(DAYS),
        family=st.sampled_from([FAMILY, IMPROVED]),
    )
    def an_item_goes(self, leaf: str, day: str | None, family: str) -> None:
        self.both("drop", [a_source(leaf, day, family=family).key])

    @rule(
        references=st.sets(st.sampled_from(REFERENCES), max_size=1),
        enterprises=st.sets(st.sampled_from([BETA]), max_size=1),
    )
    def something_is_forgotten(self, references: set[str], enterprises: set[str]) -> None:
        self.both("forget", Forgotten(frozenset(references), frozenset(enterprises)))

    @rule()
    def the_program_starts_again(self) -> None:
        self.run(self.real.close())
        self.real = self.opened()

    @rule()
    def it_is_made_anew_from_what_is_there(self) -> None:
        self.run(self.real.close())
        self.path.unlink()
        self.real = self.opened()
        for contribution in self.model.held.values():
            self.run(self.real.contribute(contribution))

    @invariant()
    def every_answer_is_the_same(self) -> None:
        for enterprise in (ALFA, BETA, "odd", "0000000097"):
            self.both("filings_of", enterprise)
        for reference in REFERENCES:
            self.both("entry", reference)
        for fragment in ("alfa", "eta", "Betabo", "& zon"):
            self.both("names_like", fragment, 100)
        self.both("parked", 100)
        self.both("sources", FAMILY)
        self.both("totals")

    @invariant()
    def every_day_is_the_same(self) -> None:
        for family in (FAMILY, IMPROVED):
            for day in (FRIDAY, SATURDAY):
                self.both("undocumented", family, day, "json")
                self.both("unlisted", family, day)
                self.both("repeated", family, day)

    def teardown(self) -> None:
        self.run(self.real.close())
        self.cleanup.close()


class ComparisonWithoutNameIndex(CatalogueComparison):
    """The same where names are looked through."""

    with_name_index = False


def _plain(answer: Any) -> Any:
    """Which of its filings a hit names is nobody's promise."""
    if isinstance(answer, list) and answer and isinstance(answer[0], NameHit):
        return [replace(hit, reference="") for hit in answer]
    return answer


TestCatalogueComparison = pytest.mark.slow(CatalogueComparison.TestCase)
TestCatalogueComparison.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestComparisonWithoutNameIndex = pytest.mark.slow(ComparisonWithoutNameIndex.TestCase)
TestComparisonWithoutNameIndex.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)


# ---------------------------------------------------------------- how far it followed


async def test_nothing_was_followed_before_that_is_noted(catalogue: Catalogue) -> None:
    assert await catalogue.followed() is None
    await catalogue.note_followed(7)
    await catalogue.note_followed(2**60)
    assert await catalogue.followed() == 2**60
    await catalogue.note_followed(None)
    assert await catalogue.followed() is None


async def test_what_was_followed_is_remembered_with_what_was_contributed_before(tmp_path: Path) -> None:
    first = await SqliteCatalogue.open(tmp_path / "catalogue.db")
    await first.contribute(Contribution(a_source("references"), (a_filing(),)))
    await first.note_followed(12)
    await first.close()
    second = await SqliteCatalogue.open(tmp_path / "catalogue.db")
    assert (await second.followed(), second.began_anew) == (12, False)
    assert await second.versions_of([a_source("references").key, "nbb/none"]) == {
        a_source("references").key: 1
    }
    await second.close()


async def test_the_versions_of_some_items_are_told_and_of_no_others(catalogue: Catalogue) -> None:
    for leaf, version in (("references", 2), ("json", 1)):
        await catalogue.contribute(Contribution(a_source(leaf, version=version), (a_filing(),)))
    wanted = [a_source("references").key, a_source("pdf").key]
    assert await catalogue.versions_of(wanted) == {a_source("references").key: 2}
    assert await catalogue.versions_of([]) == {}
