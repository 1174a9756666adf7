"""On what terms the companies of a watchlist are followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from filingd.core import units

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL_YEARS = 0
_DAY_S = 24 * 3600.0


class NbbTerms(msgspec.Struct, frozen=True):
    """What the registry knows of a company is asked for again after `refresh_interval_s`; of its filings the `documents` of these
    kinds are wanted, of the `latest` exercises (0: of all); `improved`: and what was made of them."""

    refresh_interval_s: float = 30 * _DAY_S
    documents: frozenset[str] = frozenset({"json", "pdf"})
    latest: int = ALL_YEARS
    improved: bool = False

    def __or__(self, other: NbbTerms) -> NbbTerms:
        """What satisfies both: the shorter interval, all kinds, the more years."""
        latest = ALL_YEARS if ALL_YEARS in (self.latest, other.latest) else max(self.latest, other.latest)
        return NbbTerms(
            min(self.refresh_interval_s, other.refresh_interval_s),
            self.documents | other.documents,
            latest,
            self.improved or other.improved,
        )

    def words(self) -> Sequence[str]:
        """See `core.watchlist.Terms`."""
        told = [
            f"every {units.format_duration(self.refresh_interval_s)}",
            "/".join(sorted(self.documents)) or "no documents",
            f"the latest {self.latest}" if self.latest else "all years",
        ]
        return [*told, "improved data"] if self.improved else told
