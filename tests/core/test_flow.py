"""Idle time and throughput are judged on the time in which the server could have sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filingd.core.flow import FlowMeter
from filingd.core.model import FlowLimits

LIMITS = FlowLimits(idle_timeout_s=10, min_bytes_per_s=100, min_rate_window_s=20)
PATIENT = FlowLimits(idle_timeout_s=10, min_bytes_per_s=0, min_rate_window_s=20)


def test_silence_as_long_as_the_timeout_is_a_stall() -> None:
    meter = FlowMeter(LIMITS, now=100.0)
    assert meter.verdict(109.9, 0) is None
    assert meter.verdict(110.0, 0) == "stalled"


def test_any_byte_ends_the_silence() -> None:
    meter = FlowMeter(PATIENT, now=100.0)
    received = 0
    for now in range(105, 300, 5):
        received += 1
        assert meter.verdict(float(now), received) is None
    assert meter.verdict(304.9, received) is None
    assert meter.verdict(305.0, received) == "stalled"


def test_a_transfer_younger_than_the_window_is_not_too_slow() -> None:
    meter = FlowMeter(LIMITS, now=0.0)
    assert [meter.verdict(float(now), now) for now in range(1, 20)] == [None] * 19
    assert meter.verdict(20.0, 20) == "too_slow"


def test_the_window_slides() -> None:
    meter = FlowMeter(LIMITS, now=0.0)
    assert meter.verdict(1.0, 1_000_000) is None  # a fast beginning
    verdicts = {now: meter.verdict(float(now), 1_000_000 + now) for now in range(2, 40)}
    slow = [now for now, verdict in verdicts.items() if verdict]
    assert min(slow) == 21  # as soon as the fast second has left the window


def test_our_own_slowness_does_not_count() -> None:
    meter = FlowMeter(LIMITS, now=0.0)
    assert meter.verdict(1.0, 1000) is None
    meter.hold(2.0)
    meter.hold(3.0)
    assert meter.verdict(500.0, 1000) is None
    meter.release(1000.0)
    meter.release(1001.0)
    assert meter.verdict(1008.0, 1000) is None
    assert meter.verdict(1009.0, 1000) == "stalled"


@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.integers(0, 2000)), min_size=1, max_size=60))
def test_enough_bytes_in_every_second_are_never_blamed(steps: list[tuple[float, int]]) -> None:
    meter = FlowMeter(LIMITS, now=0.0)
    now, received = 0.0, 0.0
    for elapsed, more in steps:
        now += elapsed
        received += elapsed * LIMITS.min_bytes_per_s + more + 1
        assert meter.verdict(now, int(received)) is None


def test_looks_are_frequent_enough_and_not_too_frequent() -> None:
    assert FlowMeter(LIMITS, 0.0).look_every_s == 1.25
    assert FlowMeter(FlowLimits(idle_timeout_s=3600, min_rate_window_s=3600), 0.0).look_every_s == 5.0
    assert FlowMeter(FlowLimits(idle_timeout_s=0.001), 0.0).look_every_s == 0.01
