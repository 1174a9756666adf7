"""The operations of the five products as data: paths, media types, and what each hands out (NBB reference, section 1)."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.sandbox.days import Dataset, Family

PREFIXES = {
    "authentic-query": "authentic",
    "extract": "extracts",
    "improved": "improved",
    "authentic-archive": "authentic-archive",
    "improved-archive": "improved-archive",
}
KINDS_IN_PATH = {
    "pdf_extracted": "Pdf_extracted",
    "euro_converted": "Euro_converted",
    "corrected": "Corrected",
}
# How long after its publication day a product has a day's zips.
Window = Literal["extract", "archive"]


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """An operation as data: its product, its path and the representations it offers."""

    product: str
    operation: str
    template: str  # each {name} stands for one path segment, whatever is in it
    datasets: Mapping[str, Dataset]  # by the one value of Accept that selects it
    family: Family = "authentic"
    window: Window | None = None  # of a day's zips; None: a query about single filings

    def match(self, path: str) -> dict[str, str] | None:
        """The texts in place of the names, or None if the path is another."""
        found = _pattern(self.template).fullmatch(path)
        return found.groupdict() if found else None


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)))


_REFERENCES: dict[str, Dataset] = {"application/x.zip+json": "references"}
_DOCUMENTS: dict[str, Dataset] = {
    "application/x.zip+jsonxbrl": "json",
    "application/x.zip+xbrl": "xbrl",
    "application/x.zip+pdf": "pdf",
}
_IMPROVED: dict[str, Dataset] = {"application/x.zip+jsonxbrl": "json"}
_ROWS: dict[str, Dataset] = {"application/json": "references"}
_ONE: dict[str, Dataset] = {
    "application/x.jsonxbrl": "json",
    "application/x.xbrl": "xbrl",
    "application/pdf": "pdf",
}
_ONE_JSON: dict[str, Dataset] = {"application/x.jsonxbrl": "json"}


def _days(product: str, family: Family, window: Window, paths: tuple[str, str]) -> tuple[Route, Route]:
    documents = _DOCUMENTS if family == "authentic" else _IMPROVED
    return (
        Route(product, "references", paths[0], _REFERENCES, family, window),
        Route(product, "accountingData", paths[1], documents, family, window),
    )


ROUTES = (
    *_days(
        "extract",
        "authentic",
        "extract",
        ("/extracts/batch/{date}/references", "/extracts/batch/{date}/accountingData"),
    ),
    *_days(
        "authentic-archive",
        "authentic",
        "archive",
        ("/authentic-archive/{date}/references", "/authentic-archive/{date}/accountingData"),
    ),
    *_days(
        "improved",
        "improved",
        "extract",
        ("/improved/batch/{date}/references/improved", "/improved/batch/{date}/accountingData/improved"),
    ),
    *_days(
        "improved-archive",
        "improved",
        "archive",
        ("/improved-archive/{date}/references", "/improved-archive/{date}/accountingData"),
    ),
    Route(
        "authentic-query", "legalEntityReferences", "/authentic/legalEntity/{enterprise}/references", _ROWS
    ),
    Route("authentic-query", "depositReference", "/authentic/deposit/{reference}/reference", _ROWS),
    Route("authentic-query", "depositAccountingData", "/authentic/deposit/{reference}/accountingData", _ONE),
    Route(
        "improved",
        "legalEntityReferences",
        "/improved/legalEntity/{enterprise}/references/improved",
        _ROWS,
        "improved",
    ),
    Route(
        "improved",
        "depositReferences",
        "/improved/deposit/{reference}/references/improved",
        _ROWS,
        "improved",
    ),
    Route(
        "improved",
        "depositAccountingData",
        "/improved/deposit/{reference}/accountingData/improved/{kind}",
        _ONE_JSON,
        "improved",
    ),
)


def product_of(path: str) -> str:
    """The product whose prefix a path has; empty if there is none."""
    return next((name for name, prefix in PREFIXES.items() if path.startswith(f"/{prefix}/")), "")


def family_of(product: str) -> Family:
    """The family of a product's data."""
    return "improved" if product.startswith("improved") else "authentic"
