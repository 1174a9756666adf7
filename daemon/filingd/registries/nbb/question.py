"""What an answer is judged by: the item, who was asked, its day and age, its siblings, the hour."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from filingd.core import calendar
from filingd.core.model import Failed, leaf_of
from filingd.core.retry import backoff_s
from filingd.registries.nbb import timeline

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from filingd.core.model import Attempt, Holding, Item
    from filingd.registries.nbb.rules import NbbRules


class Question:
    """One attempt that got an answer. `product` is who was asked; `siblings` are the day's other datasets, by name."""

    def __init__(
        self, rules: NbbRules, item: Item, attempt: Attempt, siblings: Mapping[str, Holding], now: float
    ) -> None:
        self.rules = rules
        self.item = item
        self.siblings = siblings
        self.now = now
        self.product = attempt.route.partition("/")[0]
        self.day: dt.date = timeline.day_of(item.key)
        self.dataset = leaf_of(item.key)
        self.age_days = calendar.age_days(self.day, now, rules.zone)

    @property
    def serving(self) -> tuple[str, ...]:
        """The products that may serve the day at its age; whoever was asked, if that is none any more."""
        return timeline.products_at(self.rules, max(self.age_days, 1)) or (self.product,)

    def failed(
        self, reason: str, detail: str = "", *, quarantine: bool = False, lane: bool = False
    ) -> Failed:
        """A failure of this attempt: the next try by backoff, or after a long pause when the tries are used up."""
        tries = self.item.attempts + 1
        gave_up = tries >= self.rules.max_attempts
        wait_s = self.rules.give_up_pause_s if gave_up else self._backoff_s(tries)
        return Failed(
            reason, self.now + wait_s, detail, quarantine=quarantine, gave_up=gave_up, strikes_lane=lane
        )

    def unreachable(self, reason: str, detail: str) -> Failed:
        """Nobody answered at all: it speaks against the lane, and never makes an item give up."""
        return Failed(reason, self.now + self._backoff_s(self.item.attempts + 1), detail)

    def paused(self, reason: str, detail: str, pause_s: float, *, lane: bool = False) -> Failed:
        """A failure that trying again soon cannot mend: something is configured wrongly."""
        return Failed(reason, self.now + pause_s, detail, gave_up=True, strikes_lane=lane)

    def _backoff_s(self, tries: int) -> float:
        # The item's own key spreads its retries, so that a burst of failures does not come back as a burst.
        spread = zlib.crc32(self.item.key.encode()) / 0xFFFFFFFF
        return backoff_s(tries, self.rules.retry_base_s, self.rules.retry_cap_s, spread)
