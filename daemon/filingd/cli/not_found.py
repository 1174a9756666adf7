"""Why something that was looked for may not be there, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.cli.instants import iso_minute
from filingd.cli.options import opened_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from filingd.adapters.catalogue_reader import CatalogueReader
    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.find_report import FilingReport
    from filingd.core.model import Item
    from filingd.settings import Settings


STILL_BEING_MADE = "The catalogue is being made from the stored files and is not complete yet: a running daemon completes it."


def causes(settings: Settings, catalogue: CatalogueReader, subjects: Collection[str]) -> Iterator[str]:
    """What is known of subjects (references, numbers of enterprises) that the catalogue does not know.

    Raises:
        StoreError: there is no manifest, or it cannot be read.
    """
    with opened_manifest(settings) as manifest:
        yield from _forgotten(manifest, subjects)
        yield from _behind(manifest, catalogue)
    if settings.nbb is not None:
        yield f"This mirror holds what was published since {settings.nbb.since}; `filingd status` shows which days are complete."


def _forgotten(manifest: ManifestReader, subjects: Collection[str]) -> Iterator[str]:
    for tombstone in manifest.tombstones():
        if tombstone.subject in subjects:
            why = f" ({tombstone.reason})" if tombstone.reason else ""
            pending = "; not every trace is erased yet" if tombstone.erased_at is None else ""
            ordered = f"on an operator's order at {iso_minute(tombstone.buried_at)}{why}"
            yield f"{tombstone.subject} was forgotten {ordered}{pending}."


def _behind(manifest: ManifestReader, catalogue: CatalogueReader) -> Iterator[str]:
    followed, head = catalogue.followed(), manifest.feed_head()
    if followed is None:
        yield STILL_BEING_MADE
    elif followed < head:
        yield f"The catalogue is {head - followed:,} events behind the manifest: a running daemon brings it up within seconds."


def why_without_document(
    settings: Settings, filing: FilingReport, kind: str, variant: str | None
) -> Iterator[str]:
    """Why a document of a known filing is not held, as far as that is known.

    Raises:
        StoreError: there is no manifest, or it cannot be read.
    """
    from filingd.registries.nbb import documents, improved_documents
    from filingd.registries.nbb.payloads import is_pdf_only

    reference = filing.reference
    key = (
        documents.key_for(reference, kind)
        if variant is None
        else improved_documents.key_for(reference, variant)
    )
    with opened_manifest(settings) as manifest:
        item = manifest.items([key]).get(key)
    if item is not None:
        yield _standing(item)
    elif variant is None and kind != "pdf" and is_pdf_only(filing.model or ""):
        yield f"It was filed as PDF: there is no {kind} of it."


def _standing(item: Item) -> str:
    from filingd.core.model import EMPTY_STATES

    why = f" ({item.reason})" if item.reason else ""
    if item.state in EMPTY_STATES:
        since = f" since {iso_minute(item.nothing_at)}" if item.nothing_at is not None else ""
        return f"It is recorded as unavailable{since}: the registry was asked for it by itself and has none{why}."
    due = f", due {iso_minute(item.due_at)}" if item.due_at is not None else ""
    return f"It is wanted by itself: {item.key} is {item.state.name.lower()}{why}{due}."
