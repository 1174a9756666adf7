"""The catalogue of a store held against what lies there, member by member."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

from filingd.adapters.catalogue_reader import CatalogueReader
from filingd.adapters.manifest_reader import ManifestReader
from filingd.adapters.members import MemberReader

if TYPE_CHECKING:
    from pathlib import Path

    from filingd.core.catalogue import DocumentPlace
    from support.daemon import StoreView


def check_catalogue(store: StoreView) -> None:
    """Assert that the catalogue says what lies there: every member of every stored zip of documents and every single
    document has its place, which yields its very bytes, and every record of every references zip is listed. Where a daemon
    was stopped before it had followed to the end, that holds for what it had come to.
    """
    items = {
        key: row for key, row in store.items().items() if key.startswith("nbb/")
    }  # others have no filings
    held = {key: row for key, row in items.items() if row.state == "stored"}
    with (
        CatalogueReader(store.root / "catalogue.db") as catalogue,
        ManifestReader(store.root / "manifest.db") as manifest,
    ):
        said = dict(catalogue.sources())
        if catalogue.followed() == manifest.feed_head():
            assert said == {key: row.version for key, row in held.items()}
        versions = {
            key: version
            for key, version in manifest.current_versions(held).items()
            if said.get(key) == version.number
        }
        for key, version in versions.items():
            check_source(catalogue, key, store.root / version.path)


def check_source(catalogue: CatalogueReader, key: str, path: Path) -> None:
    """Assert that the catalogue says of one stored file what it holds."""
    kind = key.rpartition("/")[2]
    if key.split("/")[1] in ("enterprises", "records"):
        answer = json.loads(path.read_bytes())
        for record in answer if isinstance(answer, list) else [answer]:
            assert listed_in(catalogue, record["ReferenceNumber"], key)
        return
    if path.suffix != ".zip":
        place = document_place(catalogue, path.name.partition(".")[0], key, None)
        assert place.size_bytes == path.stat().st_size
        return
    with zipfile.ZipFile(path) as opened, MemberReader(path) as reader:
        for name in opened.namelist():
            reference = name.partition(".")[0][:13]
            if kind == "references":
                record = json.loads(opened.read(name))
                assert listed_in(catalogue, reference, key) == len(
                    record if isinstance(record, list) else [record]
                )
            else:
                assert reader.read(document_place(catalogue, reference, key, name)) == opened.read(name)


def document_place(catalogue: CatalogueReader, reference: str, key: str, member: str | None) -> DocumentPlace:
    """Where the catalogue says that a document of an item lies."""
    entry = catalogue.entry(reference)
    assert entry is not None, f"{reference} of {key} is unknown"
    (found,) = [
        document.place
        for document in entry.documents
        if (document.source.key, document.place.member) == (key, member)
    ]
    return found


def listed_in(catalogue: CatalogueReader, reference: str, key: str) -> int:
    """How many records of a filing an item lists."""
    entry = catalogue.entry(reference)
    return sum(listing.source.key == key for listing in entry.listings) if entry else 0
