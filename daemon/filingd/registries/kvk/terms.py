"""On what terms a number is followed: which parts are wanted of it, how often, and who pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from filingd.core import units
from filingd.registries.kvk.operations import PARTS, PARTS_WITH_GEO_DATA, ZOEKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class PartTerms(msgspec.Struct, frozen=True, order=True):
    """How one part is wanted: asked for again after `interval_s`, with the key of `account`."""

    part: str
    interval_s: float
    account: str
    with_geo_data: bool = False

    def __or__(self, other: PartTerms) -> PartTerms:
        """What satisfies both, asked for once: the account of the shorter interval pays."""
        first = min(self, other)
        return PartTerms(
            self.part, first.interval_s, first.account, self.with_geo_data or other.with_geo_data
        )


class KvkTerms(msgspec.Struct, frozen=True):
    """The parts that are wanted of a number, each once and in order. The search by an RSIN is always among them."""

    wants: tuple[PartTerms, ...]

    @classmethod
    def of(
        cls,
        parts: Iterable[str],
        refresh_interval_s: float,
        account: str,
        refresh: Mapping[str, float] | None = None,
        *,
        geo_data: bool = False,
    ) -> KvkTerms:
        """Terms as an operator writes them. `refresh` has other intervals in seconds for some parts."""
        intervals_s = refresh or {}
        return cls(
            tuple(
                PartTerms(
                    part,
                    intervals_s.get(part, refresh_interval_s),
                    account,
                    geo_data and part in PARTS_WITH_GEO_DATA,
                )
                for part in sorted({*parts, ZOEKEN})
            )
        )

    @property
    def refresh_interval_s(self) -> float:
        """The shortest of the intervals of what is asked for."""
        return min(want.interval_s for want in self.wants if want.part != ZOEKEN or len(self.wants) == 1)

    def part(self, name: str) -> PartTerms | None:
        """How a part is wanted; None if it is not."""
        return next((want for want in self.wants if want.part == name), None)

    def __or__(self, other: KvkTerms) -> KvkTerms:
        """What satisfies both: all parts of either, each as often as either wants it."""
        merged = {want.part: want for want in self.wants}
        for want in other.wants:
            known = merged.get(want.part)
            merged[want.part] = want if known is None else known | want
        return KvkTerms(tuple(merged[part] for part in sorted(merged)))

    def words(self) -> Sequence[str]:
        """See `core.watchlist.Terms`."""
        wanted = [want for part in PARTS if (want := self.part(part)) is not None]
        told = [f"{want.part} every {units.format_duration(want.interval_s)}" for want in wanted]
        accounts = sorted({want.account for want in wanted or self.wants})
        told.append(f"paid by {'/'.join(accounts)}")
        return [*told, "with geoData"] if any(want.with_geo_data for want in wanted) else told
