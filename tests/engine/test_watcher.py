"""Following companies: the manifest follows the lists, and documents are asked for when filings become known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from fakes.catalogue import FakeCatalogue
from fakes.clock import FakeClock
from fakes.log import FakeLog
from fakes.manifest import FakeManifest
from fakes.registry import FakeCompanies, ReaderSearch, ReaderTerms
from filingd.core.catalogue import Contribution, DocumentPlace, Filing, Source
from filingd.core.errors import DiskFullError
from filingd.core.model import Change, Group, Item, State, Version
from filingd.core.watchlist import Reading, SavedSearch
from filingd.engine import watcher as module
from filingd.engine.watcher import LOOK_S, SWEEP_S, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filingd.core.catalogue import Entry

TERMS = ReaderTerms(60.0)


class FakeLists:
    """Lists that say what a test has them say; each reading is given once."""

    def __init__(self) -> None:
        self.next: Reading | None = None

    def say(
        self,
        watched: Mapping[str, ReaderTerms] | Iterable[str],
        *findings: str,
        is_complete: bool = True,
        searches: Mapping[str, SavedSearch] | None = None,
    ) -> None:
        terms = watched if isinstance(watched, dict) else dict.fromkeys(sorted(watched), TERMS)
        counts = {"mine": len(terms)}
        self.next = Reading(terms, counts, findings, len(findings), is_complete, searches or {})

    async def look(self) -> Reading | None:
        reading, self.next = self.next, None
        return reading


class World:
    """A watcher on fakes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.companies = FakeCompanies()
        self.lists = FakeLists()
        self.manifest = FakeManifest(self.clock.now)
        self.catalogue = FakeCatalogue()
        self.log = FakeLog()
        self.woken: list[str] = []
        self.planned = 0
        self.watcher = self.new_watcher()

    def new_watcher(self) -> Watcher:
        return Watcher(
            self.companies, self.lists, self.manifest, self.clock, self.log,
            lambda: self.woken.append("lanes"), lambda: self.woken.append("indexer"), self.plan,
        )  # fmt: skip

    async def plan(self) -> None:
        self.planned += 1

    async def store_card(self, number: str, *family: str) -> None:
        """A card comes, or comes again, that names others."""
        await self.store(f"lib/readers/{number}/card", *family)

    async def store(self, key: str, *names: str) -> None:
        before = self.manifest.rows.get(key)
        number = before.version + 1 if before else 1
        after = Item(key, "lib/desk", State.STORED, due_at=1.0, stored_at=0.0, version=number)
        version = Version(
            key, number, f"{key}.json", 1, bytes(32), 0.0, "lib/desk", "", facts={"names": names}
        )
        await self.manifest.record([Change(before.state if before else None, after, version)])

    async def read(self, *numbers: str, findings: Iterable[str] = ()) -> None:
        self.lists.say(numbers, *findings)
        await self.watcher.look()

    async def follow_up(self) -> None:
        while await self.watcher.follow_up(self.catalogue):
            pass

    async def contribute(
        self,
        number: str | None,
        *references: str,
        held: bool = False,
        version: int = 1,
        key: str = "lib/shelf-9/list",
    ) -> None:
        source = Source(key, version, f"{key}.zip", "lib", "2026-11-20")
        places = tuple(DocumentPlace(reference, "text", 1) for reference in references if held)
        contribution = Contribution(source, tuple(Filing(one, number) for one in references), places)
        await self.catalogue.contribute(contribution)
        self.watcher.note(contribution)

    def card(self, number: str) -> Item | None:
        return self.manifest.rows.get(f"lib/readers/{number}/card")

    @property
    def wanted(self) -> set[str]:
        """References whose text is wanted."""
        return {key.split("/")[2] for key, row in self.manifest.rows.items()
                if key.startswith("lib/loans/") and row.due_at is not None}  # fmt: skip


@pytest.fixture
def world() -> World:
    return World()


# ------------------------------------------------------------------------------------------------- the lists


async def test_companies_of_the_lists_become_items_and_it_is_told(world: World) -> None:
    await world.read("1234", "5678", findings=["mine.csv, line 3: no."])
    assert {number for number in ("1234", "5678", "9999") if world.card(number)} == {"1234", "5678"}
    (told,) = world.log.of("watchlist.read")
    assert told == {"companies": 2, "lists": {"mine": 2}, "added": 2, "removed": 0,
                    "problems": ["mine.csv, line 3: no."], "problem_count": 1}  # fmt: skip
    assert "lanes" in world.woken
    assert dict(world.companies.watched).keys() == {"1234", "5678"}


async def test_lists_that_did_not_change_cost_nothing(world: World) -> None:
    await world.read("1234")
    recorded = len(world.manifest.recorded)
    await world.watcher.look()
    assert len(world.manifest.recorded) == recorded
    assert len(world.log.of("watchlist.read")) == 1


async def test_after_a_start_nobody_is_taken_out_until_all_lists_were_read(world: World) -> None:
    await world.read("1234", "5678")
    await world.contribute("1234", "book-1")
    await world.follow_up()
    restarted = world.watcher = world.new_watcher()
    world.lists.say(["5678", "9999"], is_complete=False)
    await restarted.look()
    await world.contribute("1234", "book-2", key="lib/shelf-8/list")
    await world.follow_up()
    cards = {number: world.card(number) for number in ("1234", "5678", "9999")}
    assert all(card is not None and card.due_at is not None for card in cards.values())
    assert world.wanted == {"book-1"}
    told = world.log.of("watchlist.read")[-1]
    assert (told["added"], told["removed"], told["problem_count"]) == (1, 0, 1)
    assert told["problems"][0].startswith("1 companies that are followed are in no list that could be read.")
    world.lists.say(["5678", "9999"])
    await restarted.look()
    await world.follow_up()
    gone = world.card("1234")
    assert gone is not None
    assert gone.due_at is None, "now they were"
    assert world.wanted == set()
    assert world.log.of("watchlist.read")[-1]["removed"] == 1


async def test_without_lists_and_without_companies_nothing_is_told(world: World) -> None:
    world.lists.next = Reading({}, {}, is_complete=False)
    await world.watcher.look()
    assert world.log.of("watchlist.read") == []
    assert not world.watcher.has_work


async def test_who_is_taken_out_is_asked_for_no_more_and_comes_back_with_what_is_stored(world: World) -> None:
    await world.read("1234", "5678")
    row = world.card("1234")
    assert row is not None
    world.manifest.rows[row.key] = replace(row, state=State.STORED, due_at=99.0, version=1, stored_at=1.0)
    await world.read("5678")
    gone, kept = world.card("1234"), world.card("5678")
    assert gone is not None
    assert kept is not None
    assert (gone.state, gone.due_at) == (State.STORED, None)
    assert kept.due_at is not None
    assert world.log.of("watchlist.read")[-1]["removed"] == 1
    await world.read("1234", "5678")
    back = world.card("1234")
    assert back is not None
    assert (back.state, back.version) == (State.STORED, 1)
    assert back.due_at is not None


async def test_a_restart_finds_everything_in_its_place_and_takes_out_what_was_removed_meanwhile(
    world: World,
) -> None:
    await world.read("1234", "5678")
    recorded = len(world.manifest.recorded)
    world.watcher = world.new_watcher()
    await world.read("1234", "5678")
    assert len(world.manifest.recorded) == recorded
    assert world.log.of("watchlist.read")[-1]["added"] == 0
    world.watcher = world.new_watcher()
    await world.read("1234")
    assert world.log.of("watchlist.read")[-1]["removed"] == 1


async def test_without_lists_nothing_is_told(world: World) -> None:
    world.lists.next = Reading({}, {})
    await world.watcher.look()
    assert world.log.lines == []
    assert not world.watcher.has_work


@pytest.mark.parametrize("chunk", [3, 7, 1000])
async def test_lists_and_manifest_are_compared_part_by_part(
    world: World, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    old, new = range(1000, 1040, 2), range(1001, 1060, 3)
    strangers = [
        Item(key, "lib/desk", due_at=0.0) for key in ("lib/a/list", "lib/readersx/1/card", "lib/z/list")
    ]
    world.manifest.rows.update({item.key: item for item in strangers})
    await world.read(*map(str, old))
    await world.read(*map(str, new))
    for number in range(999, 1100):
        row = world.card(str(number))
        expected = number in new or None if number not in old else number in new
        assert (row and row.due_at is not None) == expected, number
    assert [world.manifest.rows[item.key] for item in strangers] == strangers
    told = world.log.of("watchlist.read")[-1]
    assert (told["added"], told["removed"]) == (len(set(new) - set(old)), len(set(old) - set(new)))
    due = [row.due_at for number in new if number not in old and (row := world.card(str(number)))]
    assert len(set(due)) == len(due), "spread over all parts"


async def test_a_disk_that_refuses_is_told_and_the_lists_are_read_again(world: World) -> None:
    world.manifest.fail_next_write = DiskFullError("There is no room.")
    await world.read("1234")
    assert world.log.of("alarm.raised", kind="watchlists_failed")
    assert world.watcher.has_work
    assert world.card("1234") is None
    await world.watcher.look()
    assert world.card("1234") is not None
    assert not world.log.of("watchlist.read")[0]["problems"]


# ------------------------------------------------------------------------------------------------- filings


async def test_a_filing_of_a_followed_company_has_its_documents_asked_for(world: World) -> None:
    await world.read("1234")
    await world.follow_up()
    world.woken.clear()
    await world.contribute("1234", "a", "b")
    assert world.woken == ["indexer"]
    assert world.watcher.has_work
    await world.follow_up()
    assert world.wanted == {"a", "b"}
    assert list(world.watcher._to_look_at) == []
    (told,) = world.log.of("documents.followed")
    assert (told["companies"], told["count"]) == (1, 2)
    assert told["first"].startswith("lib/loans/")


async def test_filings_of_others_and_of_nobody_are_passed_over(world: World) -> None:
    await world.read("1234")
    await world.follow_up()
    await world.contribute("5678", "a")
    await world.contribute(None, "b", key="lib/shelf-8/list")
    assert not world.watcher.has_work
    await world.follow_up()
    assert world.wanted == set()


async def test_what_the_catalogue_held_before_a_company_was_followed_is_followed_up(world: World) -> None:
    await world.contribute("1234", "a")
    await world.contribute("5678", "b", held=True, key="lib/shelf-8/list")
    await world.read("1234", "5678")
    await world.follow_up()
    assert world.wanted == {"a"}


async def test_who_is_taken_out_has_no_documents_asked_for_any_more(world: World) -> None:
    await world.contribute("1234", "a")
    await world.read("1234")
    await world.follow_up()
    await world.read()
    await world.follow_up()
    assert world.wanted == set()
    assert world.manifest.rows["lib/loans/a/text"].state is State.ABSENT


async def test_also_if_the_lists_were_changed_while_nobody_looked(world: World) -> None:
    await world.contribute("1234", "a")
    await world.read("1234")
    await world.follow_up()
    world.watcher = world.new_watcher()
    await world.read("5678")
    await world.follow_up()
    assert world.wanted == set()


async def test_other_terms_are_looked_at_and_the_same_terms_are_not(world: World) -> None:
    await world.read("1234", "5678")
    await world.follow_up()
    world.lists.say({"1234": TERMS, "5678": ReaderTerms(1.0)})
    await world.watcher.look()
    assert list(world.watcher._to_look_at) == ["5678"]


async def test_what_a_day_did_not_bring_is_wanted_at_the_next_sweep(world: World) -> None:
    await world.manifest.save_groups([Group("lib/shelf-1", 0.0, reasons=("open",))])
    await world.contribute("1234", "a")
    await world.read("1234")
    await world.follow_up()
    assert world.wanted == set()
    await world.manifest.save_groups([Group("lib/shelf-1", 0.0, sealed_at=1.0)])
    running = asyncio.create_task(world.watcher.run())
    try:
        await world.clock.sleep(SWEEP_S - 2 * LOOK_S)
        await world.follow_up()
        assert world.wanted == set()
        await world.clock.sleep(4 * LOOK_S)
        assert world.watcher.has_work
    finally:
        running.cancel()
    await world.follow_up()
    assert world.wanted == {"a"}


async def test_many_companies_are_looked_at_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    await world.read("1111", "2222", "3333")
    for place, number in enumerate(("1111", "2222", "3333")):
        await world.contribute(number, f"of-{number}", key=f"lib/shelf-{place}/list")
    assert await world.watcher.follow_up(world.catalogue)
    assert len(world.wanted) == 2
    assert not await world.watcher.follow_up(world.catalogue)
    assert len(world.wanted) == 3


async def test_there_is_work_until_what_is_wanted_is_recorded(world: World) -> None:
    await world.read("1234")
    await world.contribute("1234", "a")
    seen: list[bool] = []

    class Watching(FakeCatalogue):
        async def filings_of(self, enterprise: str) -> Sequence[Entry]:
            seen.append(world.watcher.has_work)
            return await world.catalogue.filings_of(enterprise)

    await world.watcher.follow_up(Watching())
    assert seen == [True]
    assert not world.watcher.has_work


async def test_a_failure_leaves_the_companies_to_be_looked_at(world: World) -> None:
    await world.read("1234")
    await world.contribute("1234", "a")
    world.manifest.fail_next_write = DiskFullError("There is no room.")
    with pytest.raises(DiskFullError):
        await world.watcher.follow_up(world.catalogue)
    assert world.watcher.has_work
    await world.follow_up()
    assert world.wanted == {"a"}


# ------------------------------------------------------------------------------------------------- leads


async def test_whoever_a_stored_body_names_is_followed_on_its_terms(world: World) -> None:
    world.lists.say({"1234": ReaderTerms(60.0, family=True), "5678": ReaderTerms(60.0)})
    await world.watcher.look()
    await world.store_card("1234", "2222", "3333")
    await world.store_card("5678", "4444")
    assert not await world.watcher.is_current()
    await world.watcher.look()
    assert await world.watcher.is_current()
    assert set(world.companies.watched) == {"1234", "2222", "3333", "5678"}
    assert world.card("2222")
    assert world.card("3333")
    assert world.card("4444") is None, "nobody wants the family of 5678"
    assert world.log.of("leads.followed") == [{"companies": 4, "added": 2, "removed": 0}]


async def test_who_is_named_no_more_is_not_asked_about_any_more(world: World) -> None:
    world.lists.say({"1234": ReaderTerms(60.0, family=True)})
    await world.watcher.look()
    await world.store_card("1234", "2222", "3333")
    await world.watcher.look()
    await world.store_card("1234", "3333")
    await world.watcher.look()
    gone, kept = world.card("2222"), world.card("3333")
    assert gone is not None
    assert gone.due_at is None
    assert kept is not None
    assert kept.due_at is not None


async def test_leads_are_known_again_after_a_start(world: World) -> None:
    world.lists.say({"1234": ReaderTerms(60.0, family=True)})
    await world.watcher.look()
    await world.store_card("1234", "2222")
    await world.watcher.look()
    world.watcher = world.new_watcher()
    world.lists.say({"1234": ReaderTerms(60.0, family=True)})
    await world.watcher.look()
    named = world.card("2222")
    assert named is not None
    assert named.due_at is not None
    assert "2222" in world.companies.watched


async def test_families_of_families_are_followed_too_and_circles_end(world: World) -> None:
    world.lists.say({"1234": ReaderTerms(60.0, family=True)})
    await world.watcher.look()
    for reader, *family in (("1234", "2222"), ("2222", "3333"), ("3333", "1234")):
        await world.store_card(reader, *family)
        await world.watcher.look()
    assert set(world.companies.watched) == {"1234", "2222", "3333"}


async def test_searches_are_followed_and_planned_when_they_change(world: World) -> None:
    world.lists.say({}, searches={"lane": SavedSearch(ReaderSearch("Lane"), ReaderTerms(5.0))})
    await world.watcher.look()
    assert world.planned == 1
    assert world.companies.searches.keys() == {"lane"}
    await world.store("lib/streets/lane/list", "7777")
    await world.watcher.look()
    assert world.companies.watched["7777"] == ReaderTerms(5.0)
    world.lists.say({})
    await world.watcher.look()
    assert world.planned == 2
    assert "7777" not in world.companies.watched


async def test_what_the_disk_refuses_while_leads_are_followed_is_made_good_at_the_next_look(
    world: World,
) -> None:
    world.lists.say({"1234": ReaderTerms(60.0, family=True)})
    await world.watcher.look()
    await world.store_card("1234", "2222", "3333")
    record = world.manifest.record

    async def refused(_: Sequence[Change]) -> None:
        raise DiskFullError("no room")

    world.manifest.record = refused  # type: ignore[method-assign, assignment]
    await world.watcher.look()
    assert not await world.watcher.is_current()
    assert world.card("2222") is None
    world.manifest.record = record  # type: ignore[method-assign]
    await world.watcher.look()
    assert world.card("2222")
    assert world.card("3333")
    assert await world.watcher.is_current()


async def test_a_defect_while_bodies_are_read_loses_no_number(world: World) -> None:
    world.lists.say({"1234": ReaderTerms(60.0, family=True)})
    await world.watcher.look()
    await world.store_card("1234", "2222")
    versions = world.manifest.current_versions

    async def broken(_: object) -> object:
        raise RuntimeError("a defect")

    world.manifest.current_versions = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError):
        await world.watcher.look()
    world.manifest.current_versions = versions  # type: ignore[method-assign]
    await world.watcher.look()
    assert world.card("2222")


async def test_finding_out_who_is_followed_rests_in_proportion_to_what_it_took(world: World) -> None:
    world.lists.say({"1234": ReaderTerms(60.0, family=True)})
    await world.watcher.look()
    wanted = world.watcher._wanted

    def slow() -> tuple[Mapping[str, Any], set[str]]:
        world.clock.pass_time(2.0)
        return wanted()

    world.watcher._wanted = slow  # type: ignore[method-assign]
    await world.store_card("1234", "2222")
    await world.watcher.look()
    await world.store_card("1234", "2222", "3333")
    await world.watcher.look()
    assert world.card("3333") is None
    assert not await world.watcher.is_current()
    world.clock.pass_time(41.0)
    await world.watcher.look()
    assert world.card("3333")
