"""What a day's zip holds at a given moment, as bytes: generated in a thread, kept in a small cache, or
streamed.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from filingd.sandbox import documents, improved_documents
from filingd.sandbox.answers import FlowingBody, HeldBody
from filingd.sandbox.clock import brussels_instant, parse_instant
from filingd.sandbox.generator import Generator
from filingd.sandbox.improvements import Improvement, Improver
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
    from collections.abc import Iterable, Iterator, Sequence

    from filingd.sandbox.answers import Body
    from filingd.sandbox.faults import Mutate
    from filingd.sandbox.generator import Filing
    from filingd.sandbox.removals import Removals
    from filingd.sandbox.settings import Casing, SandboxSettings

Dataset = Literal["references", "json", "xbrl", "pdf"]
Family = Literal["authentic", "improved"]
DATASETS: dict[Family, tuple[Dataset, ...]] = {
    "authentic": ("references", "json", "xbrl", "pdf"),
    "improved": ("references", "json"),
}
AnyEntry = TypeVar("AnyEntry", bound="Filing | Improvement")
_KEPT_FLOWING = 64
_ONE_DAY = dt.timedelta(days=1)
# Rough zipped bytes of a document (NBB reference, section 9); decides only whether a day is held or streamed.
_ZIPPED_BYTES = {"references": 700, "json": 4_000, "xbrl": 9_000, "pdf": 300_000}


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A day's dataset as one request sees it; equal views give equal bytes."""

    day: dt.date
    dataset: Dataset
    family: Family = "authentic"
    late_shown: bool = True
    removed: frozenset[str] = frozenset()  # reference numbers, of those that the day holds
    mutations: tuple[Mutate, ...] = ()
    casing: Casing = "camel"
    fields: Literal["known", "renamed", "unknown"] = "known"
    renames: tuple[tuple[str, str], ...] = ()
    suffixed_names: bool = False
    layout: Layout = Layout()  # noqa: RUF009 - frozen
    damage: Damage | None = None
    huge_bytes: int = 0


class DayStore:
    """Filings and zips under one set of settings."""

    def __init__(self, settings: SandboxSettings, public_url: str, removals: Removals) -> None:
        self._settings, self._public_url, self._removals = settings, public_url, removals
        self.generator = Generator(settings)
        self.improver = Improver(settings, self.generator)
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

    def view(
        self,
        day: dt.date,
        dataset: Dataset,
        at: float,
        mutations: Iterable[Mutate] = (),
        family: Family = "authentic",
    ) -> View:
        """The plain view of a day at an instant, under the settings."""
        settings = self._settings
        return View(
            day=day,
            dataset=dataset,
            family=family,
            late_shown=self.shows_late(day, at),
            removed=frozenset(name for name in self._removals.gone(at) if self._is_of(name, day, family)),
            mutations=tuple(mutations),
            casing=settings.casing_of(day, improved=family == "improved"),
            suffixed_names=settings.reference_names == "suffixed",
            layout=Layout(settings.zip_method, settings.zip64, settings.zip_descriptors, settings.zip_folder),
        )

    def shows_late(self, day: dt.date, at: float) -> bool:
        """Whether the filings that come late to a day are there."""
        return at >= self.opens_at(day) + self._settings.late_after_s

    def _is_of(self, reference_number: str, day: dt.date, family: Family) -> bool:
        slot = self.generator.locate(reference_number)
        if slot is None or family == "authentic":
            return slot is not None and slot[0] == day
        return True  # improved days are small: made anew if anything is gone

    def filings(self, view: View) -> list[Filing]:
        """The filings of a day as a view shows them, in the dataset's zip; none of an improved view."""
        if view.family == "improved":
            return []
        shown = [filing for filing in self.generator.filings(view.day) if view.late_shown or not filing.late]
        for mutation in view.mutations:
            shown = self._mutated(shown, mutation, self.generator.addition(view.day, mutation.member))
        dataset = view.dataset
        return [
            filing
            for filing in shown
            if (dataset == "references" or filing.exists_as(dataset))
            and filing.reference_number not in view.removed
        ]

    def improvements(self, view: View) -> list[Improvement]:
        """The improvements of a day as a view shows them, in the dataset's zip; none of an authentic view."""
        if view.family == "authentic":
            return []
        shown = self.improver.on_day(view.day)
        for mutation in view.mutations:
            shown = self._mutated(shown, mutation, self.improver.addition(view.day, mutation.member))
        return [
            entry
            for entry in shown
            if (entry.listed or view.dataset != "references")
            and self.generator.filing(*entry.slot).reference_number not in view.removed
        ]

    def entries(self, view: View) -> Sequence[Filing | Improvement]:
        """What a view shows, one entry a member of the zip."""
        return self.improvements(view) if view.family == "improved" else self.filings(view)

    def all_filings(self, day: dt.date) -> tuple[Filing, ...]:
        """Every filing of a day, late ones included, before any change."""
        return self.generator.filings(day)

    @staticmethod
    def _mutated(entries: list[AnyEntry], mutation: Mutate, addition: AnyEntry | None) -> list[AnyEntry]:
        if mutation.change == "added":
            return entries if addition is None else [*entries, addition]
        if not entries:
            return entries
        # those with figures come first: a rule for one dataset is not lost on a filing that dataset does not have
        order = sorted(range(len(entries)), key=lambda n: not _has_figures(entries[n]))
        index = order[mutation.member % len(entries)]
        changed = dataclasses.replace(entries[index], revision=entries[index].revision + 1)
        middle = [changed] if mutation.change == "figures" else []
        return [*entries[:index], *middle, *entries[index + 1 :]]

    async def body(self, view: View) -> Body | None:
        """The zip of a view, or None if the day holds nothing for its dataset."""
        entries = await asyncio.to_thread(self.entries, view)
        if not entries:
            return None
        if view.damage:
            view = dataclasses.replace(
                view, damage=dataclasses.replace(view.damage, member=view.damage.member % len(entries))
            )
        if view.huge_bytes or self._estimate(view, len(entries)) > self._settings.stream_above_bytes:
            return await self._stream(view, entries)
        return await self._hold(view, entries)

    def _estimate(self, view: View, count: int) -> float:
        each = _ZIPPED_BYTES[view.dataset] * (
            self._settings.effective_document_scale if view.dataset == "pdf" else 1.0
        )
        bomb = view.damage.bomb_bytes / 1000 if view.damage and view.damage.kind == "bomb" else 0
        return count * each + bomb

    async def _hold(self, view: View, entries: Sequence[Filing | Improvement]) -> HeldBody:
        async with self._building:
            held = self._held.get(view)
            if held is None:
                held = HeldBody(await asyncio.to_thread(self._joined, view, entries))
                self._held[view] = held
                self._held_bytes += held.size_bytes
            self._held.move_to_end(view)
            while self._held_bytes > self._settings.cache_bytes and len(self._held) > 1:
                self._held_bytes -= self._held.popitem(last=False)[1].size_bytes
        return held

    async def _stream(self, view: View, entries: Sequence[Filing | Improvement]) -> FlowingBody:
        flowing = self._flowing.get(view)
        if flowing is None:
            flowing = await asyncio.to_thread(self._make_flowing, view, entries)
            self._flowing[view] = flowing
            if len(self._flowing) > _KEPT_FLOWING:
                del self._flowing[next(iter(self._flowing))]
        return flowing

    def _make_flowing(self, view: View, entries: Sequence[Filing | Improvement]) -> FlowingBody:
        if not view.huge_bytes:
            return FlowingBody(lambda: rechunk(self._pieces(view, entries)), None, effortless=False)
        members = huge_members([self._name(view, entry) for entry in entries], view.huge_bytes)
        layout = dataclasses.replace(view.layout, method="stored")
        size = None if view.damage else stored_zip_bytes(members, layout)
        return FlowingBody(
            lambda: self._until_closed(write_zip(members, layout, view.damage)), size, effortless=True
        )

    def _joined(self, view: View, entries: Sequence[Filing | Improvement]) -> bytes:
        return b"".join(self._pieces(view, entries))

    def _pieces(self, view: View, entries: Sequence[Filing | Improvement]) -> Iterator[bytes]:
        return self._until_closed(write_zip(self._members(view, entries), view.layout, view.damage))

    def _until_closed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._closed:
                return
            yield piece

    def _members(self, view: View, entries: Sequence[Filing | Improvement]) -> Iterator[Member]:
        for index, entry in enumerate(entries):
            yield member_of(self._name(view, entry), self._document(view, entry, index))

    def _name(self, view: View, entry: Filing | Improvement) -> str:
        if isinstance(entry, Improvement):
            label = improved_documents.label(entry, self._settings)
            return f"{self.generator.filing(*entry.slot).reference_number}-{label}.json"
        suffix = "-reference" if view.suffixed_names and view.dataset == "references" else ""
        extension = "json" if view.dataset == "references" else view.dataset
        return f"{entry.reference_number}{suffix}.{extension}"

    def _document(self, view: View, entry: Filing | Improvement, index: int) -> bytes:
        if view.dataset != "references":
            return with_fields(self.document(entry, view.dataset), view.fields)
        table = self.reference(entry, _casing_at(view.casing, index))
        return with_names(with_fields(table, view.fields), dict(view.renames))

    def reference(self, entry: Filing | Improvement, casing: documents.Casing) -> bytes:
        """The reference object as it stands in a zip."""
        if isinstance(entry, Improvement):
            filing = self.generator.filing(*entry.slot)
            table = improved_documents.reference_object(
                entry, filing, casing, self._public_url, self._settings
            )
            return msgspec.json.encode(table)
        return documents.reference_json(entry, casing, self._public_url)

    def document(self, entry: Filing | Improvement, dataset: Dataset) -> bytes:
        """One document, the same bytes in a zip and by itself."""
        if isinstance(entry, Improvement):
            return self._improved_document(entry)
        if dataset == "json":
            return documents.accounting_json(entry)
        scale = self._settings.effective_document_scale
        if dataset == "xbrl":
            return documents.xbrl(entry, int(self._settings.big_xbrl_bytes * scale))
        return documents.pdf(entry, scale)

    def _improved_document(self, entry: Improvement) -> bytes:
        filing = self.generator.filing(*entry.slot)
        before = [other for other in self.improver.of_filing(filing) if other.nth < entry.nth]
        return improved_documents.accounting_json([*before, entry], filing)

    def member_digests(self, view: View) -> dict[str, str]:
        """SHA-256 of every member by name, for a comparison with what was stored."""
        return {
            self._name(view, entry): hashlib.sha256(self._document(view, entry, index)).hexdigest()
            for index, entry in enumerate(self.entries(view))
        }


def _has_figures(entry: Filing | Improvement) -> bool:
    return isinstance(entry, Improvement) or entry.structured


def _casing_at(casing: Casing, index: int) -> documents.Casing:
    return "pascal" if casing == "pascal" or (casing == "mixed" and index % 2 == 1) else "camel"


def with_fields(document: bytes, fields: Literal["known", "renamed", "unknown"]) -> bytes:
    """The document under names that nobody knows, or with other content altogether."""
    if fields == "known":
        return document
    if fields == "unknown":
        return b'{"schemaVersion":"9.9","payload":{"content":"moved"}}'
    if not document.startswith(b"{"):
        return document  # no JSON: it has no fields
    table: dict[str, Any] = msgspec.json.decode(document)
    return msgspec.json.encode({f"nbb{key[:1].upper()}{key[1:]}V2": value for key, value in table.items()})


def with_names(document: bytes, renames: dict[str, str]) -> bytes:
    """The document with some of its keys under other names."""
    if not renames or not document.startswith(b"{"):
        return document
    table: dict[str, Any] = msgspec.json.decode(document)
    return msgspec.json.encode({renames.get(key, key): value for key, value in table.items()})
