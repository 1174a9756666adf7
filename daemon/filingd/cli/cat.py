"""`filingd cat`: one document or record, byte for byte as it was stored, out of whatever holds it.

A zip is not searched: the catalogue knows where the document's data begins. Nothing here may import asyncio, aiohttp or rich.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filingd.cli.options import config_option, load_settings, opened_catalogue, opened_manifest
from filingd.cli.output import STANDARD_OUTPUT, raw_standard_output
from filingd.core.errors import FilingdError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.adapters.catalogue_reader import CatalogueReader
    from filingd.adapters.held_documents import SoundDocument
    from filingd.adapters.members import Output
    from filingd.core.catalogue import Document
    from filingd.settings import Settings

_KINDS = ("json", "xbrl", "pdf")
_MARK_OF_A_KEY = "/"  # in no reference
_NO_TEXT = (".zip", ".pdf")
_STANDARD_OUTPUT_PATH = Path("-")
_LOOKS = 2  # a file may be replaced after the catalogue was asked: then it is asked once more

EXAMPLE = """\b
Examples:
  filingd cat 2026-00999001 --format json | jq .
  filingd cat 2026-00999001 --format pdf --output accounts.pdf
  filingd cat 2026-00999001 --format json --variant corrected
  filingd cat kvk/numbers/69599084/basisprofiel | jq .

\b
Exit codes: 0 the whole document was written; 1 it is not held, or no copy of it is sound; 4 there is no catalogue yet, or it
cannot be read; 141 the reader went away.
"""


class NotHeldError(FilingdError):
    """The document is not in the store; the text says what is known instead."""


class NotSoundError(FilingdError):
    """The document is in the store, but what lies there is not what was stored."""


@click.command(epilog=EXAMPLE)
@config_option
@click.option(
    "--format",
    "kind",
    type=click.Choice(_KINDS),
    help="Which document of the filing; needed with a REFERENCE.",
)
@click.option(
    "--variant", metavar="NAME",
    help="What the registry made of it: corrected, pdf_extracted or euro_converted. Without it: as it was filed.",
)  # fmt: skip
@click.option(
    "--output", "output_path", type=click.Path(path_type=Path), metavar="FILE",
    help="Write it to this file, which is there whole or not at all. Without it, or with -: standard output.",
)  # fmt: skip
@click.argument("reference", metavar="REFERENCE|KEY")
def cat(
    config_path: Path, kind: str | None, variant: str | None, output_path: Path | None, reference: str
) -> None:
    """Write one document of a filing, or the body of an item by its KEY, byte for byte as the registry served it.

    REFERENCE is the filing's own number, such as 2026-00999001; `filingd find` tells them. The newest copy counts; where one is
    damaged, another is taken, and that is said.
    """
    output_path = None if output_path == _STANDARD_OUTPUT_PATH else output_path
    if _MARK_OF_A_KEY in reference:
        _cat_item(load_settings(config_path), reference, output_path)
        return
    if kind is None:
        raise click.UsageError(f"Say which document of {reference} with --format ({', '.join(_KINDS)}).")
    if kind == "pdf" and output_path is None and os.isatty(STANDARD_OUTPUT):
        raise click.UsageError(
            f"A PDF would spoil the terminal. Say --output {reference}.pdf, or send it through a pipe."
        )
    settings = load_settings(config_path)
    with opened_catalogue(settings) as catalogue:
        holdings = Holdings(settings, catalogue, reference, kind, variant)
        with holdings.sound_document() as document, _opened(output_path) as output:
            document.copy(output)
    for fault in holdings.faults:
        click.echo(f"filingd: {fault} Another copy was sound and was taken.", err=True)


def _cat_item(settings: Settings, key: str, output_path: Path | None) -> None:
    """The body that is held now of one item.

    Raises:
        NotHeldError: it is not held, or forgotten.
        MemberDamagedError: what lies there is not what was stored.
    """
    from filingd.adapters.held_documents import SoundDocument

    document, sha256 = _held_item(settings, key)
    is_text = not document.source.path.endswith(_NO_TEXT)
    if not is_text and output_path is None and os.isatty(STANDARD_OUTPUT):
        raise click.UsageError(
            f"{key} would spoil the terminal. Say --output FILE, or send it through a pipe."
        )
    with SoundDocument(settings.store.path, document, sha256) as held, _opened(output_path) as output:
        held.copy(output)


def _held_item(settings: Settings, key: str) -> tuple[Document, bytes]:
    from filingd import app
    from filingd.core.catalogue import Document, DocumentPlace, Source
    from filingd.core.forgetting import forgotten_by
    from filingd.core.model import HOLDING_STATES

    with opened_manifest(settings) as manifest:
        item = manifest.items([key]).get(key)
        version = manifest.current_versions([key]).get(key)
        forgotten = forgotten_by(manifest.tombstones())
    if item is None or version is None or item.state not in HOLDING_STATES:
        standing = "no such item is known" if item is None else f"it is {item.state.name.lower()}"
        raise NotHeldError(f"{key} is not held: {standing}. `filingd items list` shows what there is.")
    if app.registry_of(settings).is_forgotten(key, forgotten):
        raise NotHeldError(f"{key} is forgotten (`filingd forget --list`).")
    source = Source(key, version.number, version.path, key.rpartition("/")[0])
    place = DocumentPlace(key, "other", version.size_bytes, packed_bytes=version.size_bytes)
    return Document(place, source), version.sha256


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[Output]:
    from filingd.cli.output_file import new_content

    if path is not None:
        with new_content(path) as output:
            yield output
    else:
        with io.BufferedWriter(raw_standard_output()) as stdout:
            yield stdout


class Holdings:
    """The copies of one document, and what was found wrong with them."""

    def __init__(
        self, settings: Settings, catalogue: CatalogueReader, reference: str, kind: str, variant: str | None
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._reference = reference
        self._kind = kind
        self._variant = variant
        self.faults: list[FilingdError] = []

    def sound_document(self) -> SoundDocument:
        """The newest copy that is what was stored, to be closed.

        Raises:
            NotHeldError: there is none.
            NotSoundError: none of those that there are is what was stored.
        """
        for document in self._copies():
            try:
                return self._checked(document)
            except FilingdError as fault:
                self.faults.append(fault)
        if self.faults:
            raise NotSoundError(" ".join(dict.fromkeys(str(fault) for fault in self.faults)))
        raise NotHeldError(" ".join(self._what_is_known()))

    def _copies(self) -> Iterator[Document]:
        """By the catalogue; by the catalogue as it is then; by the directories of the zips as they are then."""
        from filingd.adapters.held_documents import relocated

        tried: dict[Document, None] = {}
        for _ in range(_LOOKS):
            for document in self._known():
                if document not in tried:
                    tried[document] = None
                    yield document
        for document in list(tried):
            moved = relocated(self._settings.store.path, document)
            if moved is not None and moved not in tried:
                tried[moved] = None
                yield moved

    def _known(self) -> list[Document]:
        entry = self._catalogue.entry(self._reference)
        documents = entry.documents if entry else ()
        wanted = (self._kind, self._variant)
        return [one for one in documents if (one.place.kind, one.place.variant) == wanted]

    def _checked(self, document: Document) -> SoundDocument:
        from filingd.adapters.held_documents import SoundDocument

        root = self._settings.store.path
        if document.place.member is not None:
            return SoundDocument(root, document)
        return SoundDocument(root, *self._whole_file(document))

    def _whole_file(self, document: Document) -> tuple[Document, bytes | None]:
        """A document that is a file by itself as the manifest knows it now: its checksum is there."""
        from msgspec.structs import replace

        with opened_manifest(self._settings) as manifest:
            version = manifest.current_versions([document.source.key]).get(document.source.key)
        if version is None:
            return document, None
        place = replace(document.place, size_bytes=version.size_bytes, packed_bytes=version.size_bytes)
        return replace(document, place=place), version.sha256

    def _what_is_known(self) -> Iterator[str]:
        from filingd.cli.find_report import filing_of, kind_and_variant
        from filingd.cli.not_found import causes, why_without_document

        entry = self._catalogue.entry(self._reference)
        if entry is None:
            yield f"No filing {self._reference} is known here."
            yield from causes(self._settings, self._catalogue, {self._reference})
            return
        filing = filing_of(entry)
        facts = ", ".join(filter(None, (filing.name, filing.model)))
        yield (
            f"{self._reference}{f' ({facts})' if facts else ''} is known, but no {kind_and_variant(self._kind, self._variant)} "
            "of it is held."
        )
        held = dict.fromkeys(kind_and_variant(one.kind, one.variant) for one in filing.documents)
        yield f"Held: {', '.join(held)}." if held else "No document of it is held at all."
        yield from why_without_document(self._settings, filing, self._kind, self._variant)
