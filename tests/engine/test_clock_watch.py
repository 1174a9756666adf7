"""The registry's clock is compared with ours, now and then; whoever tells alarms hears when the difference is news."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from fakes.clock import FakeClock
from filingd.core.model import ResponseHead
from filingd.engine.clock_watch import ClockWatch


class Watched:
    """A watch on a fake clock, and heads dated by the registry's."""

    def __init__(self) -> None:
        self.clock, self.news = FakeClock(), 0
        self.watch = ClockWatch(self.clock, self._note)

    def _note(self) -> None:
        self.news += 1

    def answer(self, ahead_s: float = 0.0) -> None:
        """An answer of a registry whose clock is behind ours by so much."""
        date = formatdate(self.clock.now() - ahead_s, usegmt=True)
        self.watch.look(ResponseHead(200, {"date": date}))


@pytest.mark.parametrize("ahead_s", [0.0, 118.0, -118.0, 3600.0, -86_400.0])
def test_the_difference_is_known_after_the_first_answer(ahead_s: float) -> None:
    watched = Watched()
    assert watched.watch.ahead_s is None
    watched.answer(ahead_s)
    assert watched.watch.ahead_s == pytest.approx(ahead_s, abs=1.0)
    assert watched.news == 1


async def test_it_is_looked_at_once_a_minute_and_told_only_when_it_became_another_one() -> None:
    watched = Watched()
    for ahead_s in (3600.0, 3601.0, 3605.0, 0.0):
        watched.answer(ahead_s)
        watched.answer(-9e6)  # of the same minute
        await watched.clock.sleep(61.0)
    assert watched.news == 2
    assert watched.watch.ahead_s == pytest.approx(0.0, abs=1.0)


def test_what_is_no_date_says_nothing_and_the_next_answer_is_looked_at() -> None:
    watched = Watched()
    for text in ("", "yesterday", "Thu, 99 Nov 2026 10:00:00 GMT"):
        watched.watch.look(ResponseHead(200, {"date": text}))
    watched.watch.look(ResponseHead(200, {}))
    assert watched.watch.ahead_s is None
    watched.answer(3600.0)
    assert watched.news == 1
