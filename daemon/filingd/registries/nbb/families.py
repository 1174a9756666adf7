"""The two lines of publication days the bank sells, each sealed by itself (NBB reference, sections 1 and 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from filingd.registries.nbb.routes import (
    AUTHENTIC_ARCHIVE,
    AUTHENTIC_QUERY,
    EXTRACT,
    IMPROVED,
    IMPROVED_ARCHIVE,
)

if TYPE_CHECKING:
    import datetime as dt


class Family(msgspec.Struct, frozen=True):
    """One line of days: the product that serves a day at first, the one that serves it later, and its datasets.
    `single` is the product that serves its documents one by one.

    `publishes_daily` says that a working day without anything is no day to be believed. A filing that was made as PDF has
    no document in the datasets `not_of_pdf` (section 7.2); improved data are made from those filings too.
    """

    name: str
    current: str
    archive: str
    single: str
    datasets: tuple[str, ...]
    publishes_daily: bool
    not_of_pdf: frozenset[str]

    @property
    def path(self) -> str:
        """What the keys and the files of all its days begin with."""
        return f"nbb/{self.name}"

    @property
    def products(self) -> tuple[str, str]:
        """Both products, the current one first."""
        return (self.current, self.archive)

    def key_for(self, day: dt.date, dataset: str) -> str:
        """The item key of one dataset of one publication day."""
        return f"{self.path}/{day.isoformat()}/{dataset}"


AUTHENTIC = Family(
    name="authentic",
    current=EXTRACT,
    archive=AUTHENTIC_ARCHIVE,
    single=AUTHENTIC_QUERY,
    datasets=("references", "json", "xbrl", "pdf"),
    publishes_daily=True,
    not_of_pdf=frozenset({"json", "xbrl"}),
)
IMPROVED_DATA = Family(
    name="improved",
    current=IMPROVED,
    archive=IMPROVED_ARCHIVE,
    single=IMPROVED,
    datasets=("references", "json"),
    publishes_daily=False,
    not_of_pdf=frozenset(),
)
FAMILIES = (AUTHENTIC, IMPROVED_DATA)
