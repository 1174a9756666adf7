"""An announcement in the header of an answer is told, and not with every answer."""

from __future__ import annotations

from engine.rig import EngineRig
from fakes.http import Reply
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.model import ResponseHead
from filingd.engine.notices import Notices

DAY_S = 86_400.0
TOLD = '299 - "This version is retired on 1 May 2027."'
BOOKS, CARDS = "lib/desk/books", "lib/desk/cards"


def told(rig: EngineRig) -> list[str]:
    return [line["route"] for line in rig.log.of(events.REGISTRY_WARNED)]


async def test_a_warning_of_an_answer_is_told_whatever_the_answer_says() -> None:
    rig = EngineRig(FakeRegistry(), respond=lambda _: Reply(503, b"", {"warning": TOLD}))
    item = await rig.attempt("lib/shelf-1/list")
    assert item.reason is not None
    (line,) = rig.log.of(events.REGISTRY_WARNED)
    assert line["detail"] == TOLD


async def test_each_route_is_told_of_once_a_day() -> None:
    rig = EngineRig(FakeRegistry())
    notices, head = Notices(rig.clock, rig.log), ResponseHead(200, {"warning": TOLD})
    for route in (BOOKS, CARDS, BOOKS):
        notices.look(route, head)
    assert told(rig) == [BOOKS, CARDS]
    await rig.clock.sleep(DAY_S)
    notices.look(BOOKS, head)
    assert told(rig) == [BOOKS, CARDS, BOOKS]


async def test_other_warnings_and_answers_without_one_are_passed_over() -> None:
    rig = EngineRig(FakeRegistry())
    notices = Notices(rig.clock, rig.log)
    for head in (
        None,
        ResponseHead(200, {}),
        ResponseHead(200, {"warning": '110 - "Response is stale, 299"'}),
    ):
        notices.look(BOOKS, head)
    assert told(rig) == []
    notices.look(BOOKS, ResponseHead(200, {"warning": '110 - "stale", 299 - "retired"'}))
    assert told(rig) == [BOOKS]
