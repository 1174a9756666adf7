"""The catalogue follows the manifest: whatever was stored, replaced, lost or forgotten, it says what the bodies say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from engine.rig import KEY, TARGET, EngineRig, book
from fakes.catalogue import FakeCatalogue
from fakes.http import Reply
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.catalogue import CatalogueDamagedError, Contribution, Filing, Source
from filingd.core.errors import DiskFaultError, DiskFullError, StoreError
from filingd.core.feed import FeedEvent, FeedKind
from filingd.core.model import Change, State
from filingd.core.tombstones import Tombstone
from filingd.engine.supervisor import Until
from support.zips import made_zip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filingd.core.model import Request
    from filingd.ports import Catalogue

TITLE = "once upon a time"


def names(rig: EngineRig) -> list[str | None]:
    """What the catalogue says of the first shelf."""
    held = rig.catalogue.held.get(KEY)
    return [filing.enterprise_name for filing in held.filings] if held else []


def serve(text: str) -> Callable[[Request], Reply]:
    return lambda request: Reply(200, book(f"{text} {request.url}"))


async def test_what_a_run_stores_is_in_the_catalogue_when_it_ends() -> None:
    rig = EngineRig(FakeRegistry(shelves=3), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    assert set(rig.catalogue.held) == {
        f"lib/shelf-{n}/{leaf}" for n in (1, 2, 3) for leaf in ("list", "text")
    }
    assert names(rig) == [TITLE]
    entry = await rig.catalogue.entry("shelf-1")
    assert entry is not None
    assert [(one.place.kind, one.source.path) for one in entry.documents] == [
        ("text", "lib/shelf-1/text.zip")
    ]
    assert await rig.catalogue.followed() == await rig.manifest.feed_head()


async def test_a_new_version_takes_the_place_of_the_one_before_and_the_difference_is_told() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    two = {"a.json": b"one tale", "b.json": b"another"}
    rig.http._respond = lambda _: Reply(200, made_zip(two))
    rig.manifest.rows[KEY] = replace(rig.row(), due_at=rig.clock.now())
    await rig.run()
    assert names(rig) == ["one tale", "another"]
    (told,) = rig.log.of(events.FILINGS_DIFFERED)
    assert (told["key"], told["version"], told["before"], told["now"]) == (KEY, 2, 1, 2)


async def test_a_catalogue_that_never_was_is_made_from_what_is_stored_without_a_request() -> None:
    rig = EngineRig(FakeRegistry(shelves=2), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    asked, before = len(rig.http.requests), dict(rig.catalogue.held)
    rig.catalogue = FakeCatalogue()
    await rig.run()
    assert (len(rig.http.requests), rig.catalogue.held) == (asked, before)
    (made_one,) = rig.log.of(events.CATALOGUE_MADE)[1:]
    assert (made_one["sources"], made_one["filings"], made_one["documents"]) == (4, 2, 2)


async def test_what_happened_while_nobody_followed_is_caught_up_with() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    followed = await rig.catalogue.followed()
    assert followed is not None
    before = rig.catalogue.held.pop(KEY)
    await rig.catalogue.note_followed(followed - 2)
    await rig.run()
    assert rig.catalogue.held == {KEY: before}


async def test_a_body_that_is_lost_leaves_the_catalogue_and_comes_back_with_it() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    row = rig.row()
    lost = replace(row, state=State.DUE, due_at=rig.clock.now() + 3 * 3600.0)
    await rig.manifest.record([Change(State.STORED, lost)])
    del rig.store.published[TARGET]
    await rig.run()
    assert rig.catalogue.held == {}
    rig.manifest.rows[KEY] = replace(rig.row(), due_at=rig.clock.now())
    await rig.run()
    assert names(rig) == [TITLE]


async def test_a_body_written_again_under_its_number_is_read_again() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    rig.store.published[TARGET] = book("redacted")
    head = await rig.manifest.feed_head()
    rig.manifest.kept_feed.append(FeedEvent(head + 1, 0.0, FeedKind.REPLACED, KEY, 1))
    rig.manifest.rows[KEY] = replace(rig.row(), size_bytes=len(book("redacted")))
    await rig.run()
    assert names(rig) == ["redacted"]


async def test_one_body_that_cannot_be_read_is_told_and_keeps_no_other_out() -> None:
    class Picky(FakeRegistry):
        def contribution(self, version, body):  # type: ignore[no-untyped-def]  # as the one above
            if version.key == KEY:
                raise StoreError("no word of it can be read")
            return super().contribution(version, body)

    rig = EngineRig(Picky(shelves=2), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    assert "lib/shelf-2/list" in rig.catalogue.held
    assert KEY not in rig.catalogue.held
    (alarm,) = rig.log.of(events.ALARM_RAISED, kind="not_catalogued")
    assert (alarm["key"], alarm["detail"]) == (KEY, "no word of it can be read")


async def test_a_catalogue_of_another_manifest_is_begun_anew() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    stranger = Source("lib/shelf-9/list", 1, "x", "lib", "shelf-9")
    await rig.catalogue.contribute(Contribution(stranger, (Filing("shelf-9"),)))
    await rig.catalogue.note_followed(10_000)
    await rig.run()
    assert set(rig.catalogue.held) == {KEY}
    assert rig.log.of(events.CATALOGUE_BEGUN_ANEW)


async def test_a_rebuilt_manifest_makes_the_catalogue_begin_anew() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    rig.manifest.kept_feed = [replace(event, seq=event.seq + 1000) for event in rig.manifest.kept_feed]
    first = rig.catalogue
    await rig.run()
    assert rig.catalogue is not first
    assert names(rig) == [TITLE]
    assert await rig.catalogue.followed() == await rig.manifest.feed_head()


@pytest.mark.parametrize("call", ["contribute", "note_followed", "versions_of"])
async def test_a_damaged_catalogue_is_begun_anew_while_the_mirror_goes_on(call: str) -> None:
    rig = EngineRig(FakeRegistry(shelves=2), lambda _: Reply(200, book(TITLE)))
    damaged = rig.catalogue

    async def refuse(*_: object) -> object:
        raise CatalogueDamagedError("a page is not what was written")

    setattr(damaged, call, refuse)
    await rig.run(Until.SEALED)
    assert rig.catalogue is not damaged
    assert names(rig) == [TITLE]
    rig.check_agreement()


async def test_a_full_disk_makes_the_catalogue_wait_and_nothing_else() -> None:
    rig = EngineRig(FakeRegistry(shelves=2), lambda _: Reply(200, book(TITLE)))
    rig.opening = [DiskFullError("no room")] * 3
    await rig.run(Until.SEALED)
    assert len(rig.log.of(events.ALARM_RAISED, kind="catalogue_failed")) == 1, "told once"
    rig.check_agreement()
    rig.opening.clear()
    await rig.run()
    assert names(rig) == [TITLE]


async def test_what_is_forgotten_leaves_the_catalogue() -> None:
    rig = EngineRig(FakeRegistry(shelves=2), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    await rig.manifest.bury([Tombstone("shelf-1", is_enterprise=False, buried_at=1.0)])
    await rig.run()
    assert await rig.catalogue.entry("shelf-1") is None
    assert await rig.catalogue.entry("shelf-2") is not None


async def test_a_shelf_that_turns_out_to_be_of_a_forgotten_house_is_buried_too() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    contribute = rig.catalogue.contribute

    async def withhold(contribution: Contribution) -> object:
        return replace(await contribute(contribution), withheld=("shelf-1",))

    rig.catalogue.contribute = withhold  # type: ignore[method-assign, assignment]
    await rig.run()
    assert [each.subject for each in await rig.manifest.tombstones()] == ["shelf-1"]


async def test_whose_an_unnamed_shelf_is_is_asked_once_and_it_is_known_when_the_run_ends() -> None:
    registry = FakeRegistry(leaves=["list"])
    registry.told_in = {"shelf-1": "lib/annex-1/text"}
    rig = EngineRig(registry, lambda _: Reply(200, book(TITLE)))
    await rig.run()
    assert rig.row("lib/annex-1/text").state is State.STORED
    (parked,) = rig.log.of(events.FILINGS_PARKED)
    assert (parked["count"], parked["first"]) == (1, "lib/annex-1/text")
    await rig.run()
    assert len(rig.log.of(events.FILINGS_PARKED)) == 1


async def test_a_shelf_that_two_lists_name_is_told() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, made_zip({"a": b"x", "b": b"y"})))
    await rig.run()
    (told,) = rig.log.of(events.FILINGS_REPEATED)
    assert (told["group"], told["count"], told["first"]) == ("lib/shelf-1", 1, "shelf-1")
    assert told["keys"] == [KEY, KEY]


class Listener:
    """Notes what came, and has so much to do when the catalogue is complete."""

    def __init__(self, parts: int) -> None:
        self.heard: list[str] = []
        self.parts = parts
        self.seen: list[int] = []

    @property
    def has_work(self) -> bool:
        return self.parts > 0

    def note(self, contribution: Contribution) -> None:
        self.heard.append(contribution.source.key)

    async def follow_up(self, catalogue: Catalogue) -> bool:
        self.seen.append((await catalogue.totals()).sources)
        self.parts = max(0, self.parts - 1)
        return self.has_work


async def test_an_audience_hears_of_all_that_comes_and_acts_when_the_catalogue_is_complete() -> None:
    rig = EngineRig(FakeRegistry(shelves=2), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    rig.catalogue = FakeCatalogue()
    rig.audience = listener = Listener(parts=3)
    await rig.run()
    assert sorted(listener.heard) == sorted(rig.catalogue.held)
    assert listener.seen[:3] == [4, 4, 4], "only of the whole, and to the end before the run is over"


async def test_the_catalogue_is_closed_when_the_run_ends() -> None:
    rig = EngineRig(FakeRegistry(leaves=["list"]), lambda _: Reply(200, book(TITLE)))
    closed: list[bool] = []
    close = rig.catalogue.close

    async def note() -> None:
        closed.append(True)
        await close()

    rig.catalogue.close = note  # type: ignore[method-assign]
    await rig.run()
    assert closed == [True]


async def test_a_body_that_could_not_be_read_is_read_later_and_told_once() -> None:
    rig = EngineRig(FakeRegistry(shelves=2), lambda _: Reply(200, book(TITLE)))
    look_into, failures = rig.store.look_into, [4]

    async def fail(targets: Sequence[str], look: Callable[[int, Any], Any]) -> Any:
        if failures[0] and TARGET in targets:
            failures[0] -= 1
            return [DiskFaultError("the disk refused") for _ in targets]
        return await look_into(targets, look)

    rig.store.look_into = fail  # type: ignore[method-assign]
    running = await rig.begin()
    await rig.until(lambda: names(rig) == [TITLE])
    rig.supervisor.stop()
    await rig.ended(running)
    told = [alarm["key"] for alarm in rig.log.of(events.ALARM_RAISED, kind="not_catalogued")]
    assert sorted(set(told)) == sorted(told)


async def test_what_an_earlier_run_could_not_read_is_read_by_the_next() -> None:
    rig = EngineRig(FakeRegistry(shelves=2), lambda _: Reply(200, book(TITLE)))
    await rig.run()
    held = rig.catalogue.held.pop(KEY)
    await rig.run()
    assert rig.catalogue.held[KEY] == held


async def test_a_defect_in_what_only_follows_is_told_and_ends_nothing() -> None:
    class Broken(FakeRegistry):
        def contribution(self, version, body):  # type: ignore[no-untyped-def]  # as the one above
            raise ValueError("nobody thought of this")

    rig = EngineRig(Broken(shelves=2), lambda _: Reply(200, book(TITLE)))
    await rig.run(Until.SEALED)
    assert rig.log.of(events.ALARM_RAISED, kind="defect")
    rig.check_agreement()


async def test_what_happens_while_it_follows_is_no_reason_to_begin_anew() -> None:
    rig = EngineRig(FakeRegistry(shelves=3), lambda _: Reply(200, book(TITLE)))
    feed = rig.manifest.feed

    async def meanwhile_another(after: int, limit: int) -> Sequence[FeedEvent]:
        head = await rig.manifest.feed_head()
        if head < 50:
            rig.manifest.kept_feed.append(FeedEvent(head + 1, 0.0, FeedKind.SEALED, "lib/shelf-1"))
        return await feed(after, limit)

    rig.manifest.feed = meanwhile_another  # type: ignore[method-assign]
    await rig.run()
    assert await rig.manifest.feed_head() >= 50
    assert rig.log.of(events.CATALOGUE_BEGUN_ANEW) == []
