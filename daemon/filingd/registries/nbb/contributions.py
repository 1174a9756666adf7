"""What the stored items of NBB say of filings: see `filings` for how it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.catalogue import Contribution, DocumentPlace, Source
from filingd.core.model import leaf_of
from filingd.registries.nbb.filings import filings_in, places_in
from filingd.registries.nbb.timeline import REFERENCES, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.core.catalogue import Filing
    from filingd.core.model import StoredBody, Version
    from filingd.registries.nbb.families import Family


def of_day(family: Family, version: Version, body: StoredBody) -> Contribution:
    """The filings of a references zip, or the documents of another.

    Raises:
        PayloadError: a record in a references zip cannot be understood.
        FilingdError: the body is not what was stored.
    """
    key = version.key
    day = day_of(key).isoformat()
    source = Source(key, version.number, version.path, family.path, day)
    if leaf_of(key) == REFERENCES:
        return Contribution(source, tuple(_filings_of(body)))
    return Contribution(source, places=places_in(leaf_of(key), body.members))


def of_document(
    family: Family, version: Version, reference: str, kind: str, variant: str | None = None
) -> Contribution:
    """A document that came by itself; which day it completes is not known here."""
    size_bytes = version.size_bytes
    place = DocumentPlace(reference, kind, size_bytes, variant, packed_bytes=size_bytes)
    return Contribution(_by_itself(family, version), places=(place,))


def of_answer(family: Family, version: Version, body: StoredBody) -> Contribution:
    """The filings that an answer about a company, or about one filing, lists.

    Raises:
        PayloadError: a record in it cannot be understood.
        FilingdError: the body is not what was stored.
    """
    return Contribution(_by_itself(family, version), filings_in(body.read(), name=version.key))


def _by_itself(family: Family, version: Version) -> Source:
    return Source(version.key, version.number, version.path, family.path)


def _filings_of(body: StoredBody) -> Iterator[Filing]:
    for member in body.members:
        if member.name.lower().endswith(".json"):
            yield from filings_in(body.read(member), name=member.name, member=member.name)
