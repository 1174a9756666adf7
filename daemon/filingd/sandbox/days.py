"""What a day's zip holds at a given moment, as bytes: generated in a thread, kept in a small cache, or
streamed.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from filingd.sandbox import documents
from filingd.sandbox.answers import FlowingBody, HeldBody
from filingd.sandbox.clock import brussels_instant, parse_instant
from filingd.sandbox.generator import Generator
from filingd.sandbox.zips import (
    Damage,
    Layout,
    Member,
    huge_members,
    member_of,
    rechunk,
    stored_zip_bytes,
    write_zip,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from filingd.sandbox.answers import Body
    from filingd.sandbox.faults import Mutate
    from filingd.sandbox.generator import Filing
    from filingd.sandbox.settings import Casing, SandboxSettings

Dataset = Literal["references", "json", "xbrl", "pdf"]
DATASETS: tuple[Dataset, ...] = ("references", "json", "xbrl", "pdf")
_KEPT_FLOWING = 64
_ONE_DAY = dt.timedelta(days=1)
# Rough zipped bytes of a document (NBB reference, section 9); decides only whether a day is held or streamed.
_ZIPPED_BYTES = {"references": 700, "json": 4_000, "xbrl": 9_000, "pdf": 300_000}


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A day's dataset as one request sees it; equal views give equal bytes."""

    day: dt.date
    dataset: Dataset
    late_shown: bool = True
    mutations: tuple[Mutate, ...] = ()
    casing: Casing = "camel"
    fields: Literal["known", "renamed", "unknown"] = "known"
    suffixed_names: bool = False
    layout: Layout = Layout()  # noqa: RUF009 - frozen
    damage: Damage | None = None
    huge_bytes: int = 0


class DayStore:
    """Filings and zips under one set of settings."""

    def __init__(self, settings: SandboxSettings, public_url: str) -> None:
        self._settings, self._public_url = settings, public_url
        self._generator = Generator(settings)
        self._held: collections.OrderedDict[View, HeldBody] = collections.OrderedDict()
        self._held_bytes = 0
        self._flowing: dict[View, FlowingBody] = {}
        self._building = asyncio.Lock()
        self._closed = False

    def close(self) -> None:
        """Let every thread that generates a zip end at its next piece: nobody is waiting for it any more."""
        self._closed = True

    def opens_at(self, day: dt.date) -> float:
        """The instant from which a day is published: a setting for the day, or the hour of D+1 in
        Brussels.
        """
        override = self._settings.published_at.get(day.isoformat())
        if override is not None:
            return parse_instant(override)
        return brussels_instant(day + _ONE_DAY, self._settings.publish_time)

    def view(self, day: dt.date, dataset: Dataset, at: float, mutations: Iterable[Mutate] = ()) -> View:
        """The plain view of a day at an instant, under the settings."""
        settings = self._settings
        return View(
            day=day,
            dataset=dataset,
            late_shown=at >= self.opens_at(day) + settings.late_after_s,
            mutations=tuple(mutations),
            casing=settings.casing_of(day),
            suffixed_names=settings.reference_names == "suffixed",
            layout=Layout(settings.zip_method, settings.zip64, settings.zip_descriptors, settings.zip_folder),
        )

    def filings(self, view: View) -> list[Filing]:
        """The filings of a day as a view shows them, in the dataset's zip."""
        shown = [filing for filing in self._generator.filings(view.day) if view.late_shown or not filing.late]
        for mutation in view.mutations:
            shown = self._mutated(shown, mutation, view.day)
        dataset = view.dataset
        return [filing for filing in shown if dataset == "references" or filing.exists_as(dataset)]

    def all_filings(self, day: dt.date) -> tuple[Filing, ...]:
        """Every filing of a day, late ones included, before any change."""
        return self._generator.filings(day)

    def _mutated(self, filings: list[Filing], mutation: Mutate, day: dt.date) -> list[Filing]:
        if mutation.change == "added":
            return [*filings, self._generator.addition(day, mutation.member)]
        if not filings:
            return filings
        index = mutation.member % len(filings)
        changed = dataclasses.replace(filings[index], revision=filings[index].revision + 1)
        middle = [changed] if mutation.change == "figures" else []
        return [*filings[:index], *middle, *filings[index + 1 :]]

    async def body(self, view: View) -> Body | None:
        """The zip of a view, or None if the day holds nothing for its dataset."""
        filings = await asyncio.to_thread(self.filings, view)
        if not filings:
            return None
        if view.damage:
            view = dataclasses.replace(
                view, damage=dataclasses.replace(view.damage, member=view.damage.member % len(filings))
            )
        if view.huge_bytes or self._estimate(view, len(filings)) > self._settings.stream_above_bytes:
            return await self._stream(view, filings)
        return await self._hold(view, filings)

    def _estimate(self, view: View, count: int) -> float:
        each = _ZIPPED_BYTES[view.dataset] * (
            self._settings.effective_document_scale if view.dataset == "pdf" else 1.0
        )
        bomb = view.damage.bomb_bytes / 1000 if view.damage and view.damage.kind == "bomb" else 0
        return count * each + bomb

    async def _hold(self, view: View, filings: list[Filing]) -> HeldBody:
        async with self._building:
            held = self._held.get(view)
            if held is None:
                held = HeldBody(await asyncio.to_thread(self._joined, view, filings))
                self._held[view] = held
                self._held_bytes += held.size_bytes
            self._held.move_to_end(view)
            while self._held_bytes > self._settings.cache_bytes and len(self._held) > 1:
                self._held_bytes -= self._held.popitem(last=False)[1].size_bytes
        return held

    async def _stream(self, view: View, filings: list[Filing]) -> FlowingBody:
        flowing = self._flowing.get(view)
        if flowing is None:
            flowing = await asyncio.to_thread(self._make_flowing, view, filings)
            self._flowing[view] = flowing
            if len(self._flowing) > _KEPT_FLOWING:
                del self._flowing[next(iter(self._flowing))]
        return flowing

    def _make_flowing(self, view: View, filings: list[Filing]) -> FlowingBody:
        if not view.huge_bytes:
            return FlowingBody(lambda: rechunk(self._pieces(view, filings)), None, effortless=False)
        members = huge_members([self._name(view, filing) for filing in filings], view.huge_bytes)
        layout = dataclasses.replace(view.layout, method="stored")
        size = None if view.damage else stored_zip_bytes(members, layout)
        return FlowingBody(
            lambda: self._until_closed(write_zip(members, layout, view.damage)), size, effortless=True
        )

    def _joined(self, view: View, filings: list[Filing]) -> bytes:
        return b"".join(self._pieces(view, filings))

    def _pieces(self, view: View, filings: list[Filing]) -> Iterator[bytes]:
        return self._until_closed(write_zip(self._members(view, filings), view.layout, view.damage))

    def _until_closed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._closed:
                return
            yield piece

    def _members(self, view: View, filings: list[Filing]) -> Iterator[Member]:
        for index, filing in enumerate(filings):
            yield member_of(self._name(view, filing), self._document(view, filing, index))

    def _name(self, view: View, filing: Filing) -> str:
        suffix = "-reference" if view.suffixed_names and view.dataset == "references" else ""
        extension = "json" if view.dataset == "references" else view.dataset
        return f"{filing.reference_number}{suffix}.{extension}"

    def _document(self, view: View, filing: Filing, index: int) -> bytes:
        if view.dataset == "references":
            casing: documents.Casing = "pascal" if _is_pascal(view.casing, index) else "camel"
            return _with_fields(documents.reference_json(filing, casing, self._public_url), view.fields)
        if view.dataset == "json":
            return _with_fields(documents.accounting_json(filing), view.fields)
        scale = self._settings.effective_document_scale
        if view.dataset == "xbrl":
            return documents.xbrl(filing, int(self._settings.big_xbrl_bytes * scale))
        return documents.pdf(filing, scale)

    def member_digests(self, view: View) -> dict[str, str]:
        """SHA-256 of every member by name, for a comparison with what was stored."""
        filings = self.filings(view)
        return {
            self._name(view, filing): hashlib.sha256(self._document(view, filing, index)).hexdigest()
            for index, filing in enumerate(filings)
        }


def _is_pascal(casing: Casing, index: int) -> bool:
    return casing == "pascal" or (casing == "mixed" and index % 2 == 1)


def _with_fields(document: bytes, fields: Literal["known", "renamed", "unknown"]) -> bytes:
    """The document under names that nobody knows, or with other content altogether."""
    if fields == "known":
        return document
    if fields == "unknown":
        return b'{"schemaVersion":"9.9","payload":{"content":"moved"}}'
    table: dict[str, Any] = msgspec.json.decode(document)
    return msgspec.json.encode({f"nbb{key[:1].upper()}{key[1:]}V2": value for key, value in table.items()})
