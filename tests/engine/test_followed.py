"""A command that asks or judges knows who is followed, as a daemon does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from engine.rig import EngineRig
from fakes.registry import FakeCompanies, FakeRegistry, ReaderSearch, ReaderTerms
from filingd.core.model import Change, Item, State, Version
from filingd.core.watchlist import Reading, SavedSearch
from filingd.engine.followed import follow_once

if TYPE_CHECKING:
    from filingd.ports import Manifest

TERMS = ReaderTerms(60.0, family=True)
READING = Reading(
    {"1111": TERMS}, {"town": 1}, searches={"mill": SavedSearch(ReaderSearch("Mill Lane"), TERMS)}
)


class Lists:
    """Lists as they are read by a command."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    async def look(self) -> Reading | None:
        return self.reading


async def followed(reading: Reading, *, has_manifest: bool = True) -> FakeCompanies:
    registry, companies = FakeRegistry(), FakeCompanies()
    registry.companies = (companies,)
    manifest = EngineRig(registry).manifest
    for key, names in (("lib/readers/1111/card", ["2222"]), ("lib/streets/mill/1", ["3333"])):
        item = Item(key, "lib/desk", State.STORED, version=1, sha256=b"0" * 32, stored_at=1.0, size_bytes=1)
        version = Version(key, 1, key, 1, b"0" * 32, 1.0, "desk", "r", facts={"names": names})
        await manifest.record([Change(None, item, version)])
    given: Manifest | None = manifest if has_manifest else None
    await follow_once(registry, [Lists(reading)], given)
    return companies


async def test_lists_searches_and_whom_stored_bodies_name_are_followed() -> None:
    companies = await followed(READING)
    assert companies.watched == {"1111": TERMS, "2222": TERMS, "3333": TERMS}
    assert companies.searches == READING.searches
    assert companies.is_whole


async def test_lists_that_could_not_be_read_say_that_there_may_be_more() -> None:
    assert not (await followed(replace(READING, is_complete=False))).is_whole


async def test_without_a_manifest_there_may_be_more_as_well() -> None:
    companies = await followed(READING, has_manifest=False)
    assert companies.watched == {"1111": TERMS}
    assert companies.searches == READING.searches
    assert not companies.is_whole
