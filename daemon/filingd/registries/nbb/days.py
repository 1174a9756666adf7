"""What an answer to a batch request means for one dataset of one publication day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core import calendar
from filingd.core.model import Stored, leaf_of
from filingd.registries.nbb import emptiness, timeline
from filingd.registries.nbb.question import Question
from filingd.registries.nbb.words import shown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from filingd.core.model import Attempt, BodyReport, Holding, Item, Verdict
    from filingd.registries.nbb.rules import NbbRules


class DayQuestion(Question):
    """A day and a dataset were asked for. `siblings` are the day's other datasets, by name."""

    def __init__(
        self, rules: NbbRules, item: Item, attempt: Attempt, siblings: Mapping[str, Holding], now: float
    ) -> None:
        super().__init__(rules, item, attempt, now)
        self.siblings = siblings
        self.day: dt.date = timeline.day_of(item.key)
        self.dataset = leaf_of(item.key)
        self.age_days = calendar.age_days(self.day, now, rules.zone)

    @property
    def serving(self) -> tuple[str, ...]:
        """The products that may serve the day at its age; whoever was asked, if that is none any more."""
        return timeline.products_at(self.rules, max(self.age_days, 1)) or (self.product,)

    def sound(self, body: BodyReport) -> Verdict:
        """A zip; of references only if there are filings in it."""
        if self.dataset == timeline.REFERENCES and not body.facts.get("filings"):
            return self.failed(
                "zero_known_fields", "the zip holds files, but no filing was found in them", quarantine=True
            )
        return Stored(timeline.next_recheck_at(self.rules, self.day, self.now))

    def nothing(self, *, refused: bool, text: bytes = b"") -> Verdict:  # noqa: ARG002 - no text is required (5.2)
        """Late, empty, outside the window, or gone: see `emptiness`."""
        return emptiness.nothing(self, refused=refused)

    def invalid(self, text: bytes) -> Verdict:
        """Near the edges of a window a date may be refused as invalid where it is merely not served (section 11, row 3)."""
        if timeline.may_be_refused_as_invalid(self.rules, self.age_days):
            return self.nothing(refused=True)
        return self.paused("refused_as_invalid", shown(text), self.rules.give_up_pause_s)
