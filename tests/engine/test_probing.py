"""Single calls at the pace of their lane: what former runs released counts, and nobody who comes after can be too early."""

from __future__ import annotations

import pytest

from fakes.clock import FakeClock
from fakes.http import FakeHttp, Reply
from filingd.core.limits import LaneState
from filingd.core.model import FlowLimits, LaneSpec, Request
from filingd.engine.probing import Prober

SPEC = LaneSpec("lib/desk", 2.0, 1, 4, ("key",))
REQUEST = Request("https://lib.example/x", (), "id")


def prober(clock: FakeClock, reply: Reply, former: LaneState | None = None, spec: LaneSpec = SPEC) -> Prober:
    return Prober(spec, former, FakeHttp(lambda _: reply), clock, FlowLimits())


async def test_calls_come_no_faster_than_was_promised_and_rest_ends_outside_every_window() -> None:
    clock = FakeClock()
    asking = prober(clock, Reply(415, b"no"))
    began_s = clock.elapsed_s
    for _ in range(5):
        assert (await asking.ask(REQUEST)).error_body == b"no"
    assert clock.elapsed_s - began_s >= 2.0
    last_s = clock.elapsed_s
    await asking.rest()
    assert clock.elapsed_s - last_s >= 1.0


async def test_a_former_run_and_a_slowdown_are_kept_to() -> None:
    clock = FakeClock()
    former = LaneState(SPEC.name, clock.boot_id(), clock.monotonic() + 5.0, slowdown=4.0, park_reason="keys_refused",
                       parked_until_at=clock.now() + 9e5, parked_for_s=9e5)  # fmt: skip
    asking = prober(clock, Reply(415), former)
    began_s = clock.elapsed_s
    await asking.ask(REQUEST)
    assert 1.9 < clock.elapsed_s - began_s < 60.0, "a window after the former calls, whatever parked the lane"
    second_s = clock.elapsed_s
    await asking.ask(REQUEST)
    assert clock.elapsed_s - second_s >= 2.0


async def test_without_a_call_there_is_nothing_to_rest_from() -> None:
    clock = FakeClock()
    await prober(clock, Reply(415)).rest()
    assert clock.elapsed_s == 0.0


@pytest.mark.parametrize("reason", ["connect_failed", "tls_failed", "redirected"])
async def test_a_call_that_fails_says_why(reason: str) -> None:
    answer = await prober(FakeClock(), Reply(head_reason=reason)).ask(REQUEST)
    assert (answer.head, answer.transfer_reason) == (None, reason)


async def test_of_a_body_no_more_than_its_beginning_is_read() -> None:
    answer = await prober(FakeClock(), Reply(200, b"x" * 100_000)).ask(REQUEST)
    assert len(answer.error_body) == 8192
