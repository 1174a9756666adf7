"""Paths and media types of NBB CBSO, as data (NBB reference, section 1). A configuration may replace any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTRACT = "extract"
AUTHENTIC_ARCHIVE = "authentic-archive"
IMPROVED = "improved"
IMPROVED_ARCHIVE = "improved-archive"
AUTHENTIC_QUERY = "authentic-query"
KEY_HEADER = "NBB-CBSO-Subscription-Key"  # section 4.1
REQUEST_ID_HEADER = "X-Request-Id"
# Operations about a company, about one improved document and about the record of one filing; all others are named after a
# dataset or a kind of document.
BY_ENTERPRISE = "enterprise"
ONE_DOCUMENT = "document"
ONE_RECORD = "record"


class Operation(msgspec.Struct, frozen=True):
    """One operation of a product: a path with `{date}`, `{ref}` (and `{kind}`) or `{cbe}` in it, and the one media type it
    answers to."""

    path: str
    accept: str


# The archives have no `/batch/` in their paths, the improved one no `/improved` behind either: few sources say so.
DEFAULT_OPERATIONS: Mapping[tuple[str, str], Operation] = {
    (EXTRACT, "references"): Operation("/extracts/batch/{date}/references", "application/x.zip+json"),
    (EXTRACT, "json"): Operation("/extracts/batch/{date}/accountingData", "application/x.zip+jsonxbrl"),
    (EXTRACT, "xbrl"): Operation("/extracts/batch/{date}/accountingData", "application/x.zip+xbrl"),
    (EXTRACT, "pdf"): Operation("/extracts/batch/{date}/accountingData", "application/x.zip+pdf"),
    (AUTHENTIC_ARCHIVE, "references"): Operation(
        "/authentic-archive/{date}/references", "application/x.zip+json"
    ),
    (AUTHENTIC_ARCHIVE, "json"): Operation(
        "/authentic-archive/{date}/accountingData", "application/x.zip+jsonxbrl"
    ),
    (AUTHENTIC_ARCHIVE, "xbrl"): Operation(
        "/authentic-archive/{date}/accountingData", "application/x.zip+xbrl"
    ),
    (AUTHENTIC_ARCHIVE, "pdf"): Operation(
        "/authentic-archive/{date}/accountingData", "application/x.zip+pdf"
    ),
    (IMPROVED, "references"): Operation(
        "/improved/batch/{date}/references/improved", "application/x.zip+json"
    ),
    (IMPROVED, "json"): Operation(
        "/improved/batch/{date}/accountingData/improved", "application/x.zip+jsonxbrl"
    ),
    (IMPROVED_ARCHIVE, "references"): Operation(
        "/improved-archive/{date}/references", "application/x.zip+json"
    ),
    (IMPROVED_ARCHIVE, "json"): Operation(
        "/improved-archive/{date}/accountingData", "application/x.zip+jsonxbrl"
    ),
    # Single documents, by kind.
    (AUTHENTIC_QUERY, "json"): Operation("/authentic/deposit/{ref}/accountingData", "application/x.jsonxbrl"),
    (AUTHENTIC_QUERY, "xbrl"): Operation("/authentic/deposit/{ref}/accountingData", "application/x.xbrl"),
    (AUTHENTIC_QUERY, "pdf"): Operation("/authentic/deposit/{ref}/accountingData", "application/pdf"),
    (IMPROVED, ONE_DOCUMENT): Operation(
        "/improved/deposit/{ref}/accountingData/improved/{kind}", "application/x.jsonxbrl"
    ),
    (AUTHENTIC_QUERY, ONE_RECORD): Operation("/authentic/deposit/{ref}/reference", "application/json"),
    # All filings of a company.
    (AUTHENTIC_QUERY, BY_ENTERPRISE): Operation(
        "/authentic/legalEntity/{cbe}/references", "application/json"
    ),
    (IMPROVED, BY_ENTERPRISE): Operation(
        "/improved/legalEntity/{cbe}/references/improved", "application/json"
    ),
}
