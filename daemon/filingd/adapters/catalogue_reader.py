"""A look at the catalogue from a command: synchronous, light to import, safe beside a running daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.adapters.catalogue_queries import Queries
from filingd.adapters.catalogue_schema import open_read_only, translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from filingd.core.catalogue import Document, Entry, Listing, NameHit, Repeated, Totals


class CatalogueReader:
    """The questions of `ports.Catalogue`, read only and without a lock. Close it, or use `with`.

    Raises (on making it, and by every method):
        StoreError: there is no catalogue, or none that this program can read.
        CatalogueDamagedError, DiskFaultError, UnavailableError: it cannot be read now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        opened = open_read_only(path)
        self._connection = opened.connection
        self._queries = Queries(opened.connection, has_name_index=opened.has_name_index)

    def filings_of(self, enterprise: str) -> Sequence[Entry]:
        with translated(self._path):
            return self._queries.filings_of(enterprise)

    def entry(self, reference: str) -> Entry | None:
        with translated(self._path):
            return self._queries.entry(reference)

    def names_like(self, fragment: str, limit: int) -> Sequence[NameHit]:
        with translated(self._path):
            return self._queries.names_like(fragment, limit)

    def undocumented(self, family: str, published_on: str, kind: str) -> Sequence[Listing]:
        with translated(self._path):
            return self._queries.undocumented(family, published_on, kind)

    def unlisted(self, family: str, published_on: str) -> Sequence[Document]:
        with translated(self._path):
            return self._queries.unlisted(family, published_on)

    def repeated(self, family: str, published_on: str) -> Sequence[Repeated]:
        with translated(self._path):
            return self._queries.repeated(family, published_on)

    def parked(self, limit: int) -> Sequence[Listing]:
        with translated(self._path):
            return self._queries.parked(limit)

    def sources(self, prefix: str = "") -> Mapping[str, int]:
        with translated(self._path):
            return self._queries.sources(prefix)

    def followed(self) -> int | None:
        with translated(self._path):
            return self._queries.followed()

    def totals(self) -> Totals:
        with translated(self._path):
            return self._queries.totals()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
