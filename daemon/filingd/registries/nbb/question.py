"""One attempt that got an answer: how it failed, if it did. What its success means depends on what was asked for.

`answers` reads what the service said; whether that makes a day empty or a document unavailable is said by the two
kinds of question, `days.DayQuestion` and `documents.DocumentQuestion`.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from filingd.core.model import Failed
from filingd.core.retry import backoff_s

if TYPE_CHECKING:
    from filingd.core.model import Attempt, BodyReport, Item, Verdict
    from filingd.registries.nbb.rules import NbbRules


class Question(ABC):
    """One attempt that got an answer. `product` is who was asked."""

    def __init__(self, rules: NbbRules, item: Item, attempt: Attempt, now: float) -> None:
        self.rules = rules
        self.item = item
        self.now = now
        self.product = attempt.route.partition("/")[0]

    @abstractmethod
    def sound(self, body: BodyReport) -> Verdict:
        """A verified body of a kind that was asked for, with something in it."""

    @abstractmethod
    def nothing(self, *, refused: bool, text: bytes = b"") -> Verdict:
        """There is nothing: `refused` with 404 and `text`, or stated by an empty body."""

    @abstractmethod
    def invalid(self, text: bytes) -> Verdict:
        """The service says with 400 that this cannot be asked for."""

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
