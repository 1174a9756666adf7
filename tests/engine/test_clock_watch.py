"""A clock that is wrong is told, by comparison with the registry's, and not more often than anybody wants to read."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from fakes.clock import FakeClock
from fakes.log import FakeLog
from filingd.core import events
from filingd.core.model import ResponseHead
from filingd.engine.clock_watch import TOLERANCE_S, ClockWatch


class Watched:
    """A watch on a fake clock, and heads dated by the registry's."""

    def __init__(self) -> None:
        self.clock, self.log = FakeClock(), FakeLog()
        self.watch = ClockWatch(self.clock, self.log)

    def answer(self, ahead_s: float = 0.0) -> None:
        """An answer of a registry whose clock is behind ours by so much."""
        date = formatdate(self.clock.now() - ahead_s, usegmt=True)
        self.watch.look(ResponseHead(200, {"date": date}))

    @property
    def alarms(self) -> list[str]:
        return [alarm["detail"] for alarm in self.log.of(events.ALARM_RAISED, kind="clock_skew")]


@pytest.mark.parametrize("ahead_s", [0.0, 1.0, -1.0, TOLERANCE_S - 2, 2 - TOLERANCE_S])
def test_a_clock_that_is_about_right_is_no_news(ahead_s: float) -> None:
    watched = Watched()
    watched.answer(ahead_s)
    assert watched.alarms == []


@pytest.mark.parametrize(("ahead_s", "words"), [(3600.0, "3600 s ahead of"), (-86_400.0, "86400 s behind")])
def test_a_clock_that_is_far_off_is_told_with_how_far_and_in_which_direction(
    ahead_s: float, words: str
) -> None:
    watched = Watched()
    watched.clock.pass_time(0.0)
    watched.answer(ahead_s)
    (detail,) = watched.alarms
    assert words in detail.replace("3601", "3600").replace("86399", "86400")


async def test_it_is_told_again_after_hours_and_not_with_every_answer() -> None:
    watched = Watched()
    for _ in range(100):
        watched.answer(3600.0)
        await watched.clock.sleep(61.0)
    assert len(watched.alarms) == 1
    await watched.clock.sleep(5 * 3600.0)
    watched.answer(3600.0)
    assert len(watched.alarms) == 2


def test_what_is_no_date_says_nothing_and_the_next_answer_is_looked_at() -> None:
    watched = Watched()
    for text in ("", "yesterday", "Thu, 99 Nov 2026 10:00:00 GMT"):
        watched.watch.look(ResponseHead(200, {"date": text}))
    watched.watch.look(ResponseHead(200, {}))
    watched.answer(3600.0)
    assert len(watched.alarms) == 1
