"""Lanes, gates and accounts as `filingd status` tells them: what is configured, and what manifest and ledger say of it."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, NamedTuple

from filingd.cli.instants import iso_minute
from filingd.cli.money import account_report, dearest_of, spendings_now
from filingd.core import alarms, ledger, limits
from filingd.core.alarms import LaneFacts
from filingd.core.limits import LaneState
from filingd.lane_specs import lane_specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.status_report import AccountReport, GateReport, LaneReport, ParkReport
    from filingd.core.alarms import AccountFacts
    from filingd.core.ledger import Spending
    from filingd.core.model import AccountSpec, GateSpec, LaneSpec
    from filingd.settings import Settings


class Traffic(NamedTuple):
    """Everything that is known of lanes, gates and accounts at an instant. Lanes that are not configured any more are there as
    long as something is remembered of them."""

    now: float
    lanes: Mapping[str, LaneSpec]
    gates: Mapping[str, GateSpec]
    accounts: Mapping[str, AccountSpec]
    states: Mapping[str, LaneState]
    spendings: Mapping[str, Spending]

    def state(self, name: str) -> LaneState:
        """What is remembered of a lane or a gate."""
        return self.states.get(name) or LaneState(name)

    @property
    def lane_facts(self) -> list[LaneFacts]:
        """What alarms are told from, of lanes and gates that are configured."""
        return [LaneFacts(self.states[name]) for name in (*self.lanes, *self.gates) if name in self.states]

    @property
    def account_facts(self) -> list[AccountFacts]:
        """The same of accounts."""
        return [
            alarms.facts_of_account(spec, self.spendings[name], dearest_of(name, self.lanes.values()))
            for name, spec in self.accounts.items()
        ]


def traffic_at(settings: Settings, reader: ManifestReader, now: float) -> Traffic:
    """Look at all of it.

    Raises:
        StoreError, DiskFaultError: manifest or ledger cannot be read.
    """
    specs = lane_specs(settings)
    return Traffic(
        now,
        {spec.name: spec for spec in specs.lanes},
        {spec.name: spec for spec in specs.gates},
        {spec.name: spec for spec in specs.accounts},
        reader.lane_states(),
        spendings_now(settings, specs.accounts, now),
    )


# ------------------------------------------------------------------------------------------ reports


def lane_reports(traffic: Traffic, reader: ManifestReader) -> list[LaneReport]:
    """Of every lane that is configured or remembered."""
    scheduled = reader.scheduled_counts()
    names = sorted({*traffic.lanes, *scheduled, *traffic.states} - traffic.gates.keys())
    return [_lane_report(traffic, name, scheduled.get(name, 0), reader.next_due_at(name)) for name in names]


def _lane_report(traffic: Traffic, name: str, scheduled: int, next_due_at: float | None) -> LaneReport:
    from filingd.cli.status_report import LaneReport

    spec, state = traffic.lanes.get(name), traffic.state(name)
    return LaneReport(
        name=name,
        scheduled=scheduled,
        next_due_at=next_due_at,
        calls_per_s=spec.calls_per_s if spec else None,
        gate=spec.gate if spec else None,
        account=spec.account if spec else None,
        price_microeur=spec.price_microeur if spec else 0,
        slowdown=state.slowdown,
        strikes=state.strikes,
        key_index=state.key_index,
        parked=_stopped(traffic, spec) or _parked(state, traffic.now),
    )


def _stopped(traffic: Traffic, spec: LaneSpec | None) -> ParkReport | None:
    """The stop of its account, if that has no room for a call of this lane this month."""
    from filingd.cli.status_report import ParkReport

    if spec is None or spec.account is None:
        return None
    account, spending = traffic.accounts[spec.account], traffic.spendings[spec.account]
    zone = zoneinfo.ZoneInfo(account.zone)
    stop = ledger.closing(account, spending, spec.price_microeur, traffic.now, zone)
    if stop is None or not stop.is_stop:
        return None
    return ParkReport(stop.reason, limits.PARK_REASONS[stop.reason], stop.until_at)


def _parked(state: LaneState, now: float) -> ParkReport | None:
    from filingd.cli.status_report import ParkReport

    if limits.is_open(state, now):
        return None
    reason = state.park_reason or "unknown"
    return ParkReport(reason, limits.PARK_REASONS.get(reason, reason), limits.opens_at(state, now))


def gate_reports(traffic: Traffic) -> list[GateReport]:
    """Of every gate."""
    from filingd.cli.status_report import GateReport

    return [
        GateReport(
            name=name,
            calls_per_s=spec.calls_per_s,
            concurrency=spec.concurrency,
            slowdown=traffic.state(name).slowdown,
            parked=_parked(traffic.state(name), traffic.now),
        )
        for name, spec in traffic.gates.items()
    ]


def account_reports(traffic: Traffic) -> list[AccountReport]:
    """Of every account."""
    return [
        account_report(spec, traffic.spendings[name], dearest_of(name, traffic.lanes.values()), traffic.now)
        for name, spec in traffic.accounts.items()
    ]


# ------------------------------------------------------------------------------------------ text


def lane_lines(lanes: Sequence[LaneReport], gates: Sequence[GateReport]) -> Iterator[str]:
    """The lanes, and below them what they pass together."""
    yield "lanes"
    if not lanes:
        yield "  none is configured"
    for lane in lanes:
        yield f"  {lane.name:<24} {', '.join(_lane_facts(lane))}"
    if gates:
        yield "gates"
    for gate in gates:
        yield f"  {gate.name:<24} {', '.join(_gate_facts(gate))}"


def _lane_facts(lane: LaneReport) -> Iterator[str]:
    if lane.calls_per_s is None:
        yield "not configured any more"
    else:
        yield f"gate {lane.gate}" if lane.gate else f"{lane.calls_per_s:g} calls/s"
    if lane.slowdown > 1.0:
        yield f"slowed down {lane.slowdown:.3g} times"
    if lane.scheduled:
        yield f"{lane.scheduled:,} scheduled"
    if lane.next_due_at is not None:
        yield f"next due {iso_minute(lane.next_due_at)}"
    if lane.key_index:
        yield f"on key number {lane.key_index + 1}"
    yield from _parked_words(lane.parked)


def _gate_facts(gate: GateReport) -> Iterator[str]:
    yield f"{gate.calls_per_s:g} calls/s and {gate.concurrency} at once over all its lanes"
    if gate.slowdown > 1.0:
        yield f"slowed down {gate.slowdown:.3g} times"
    yield from _parked_words(gate.parked)


def _parked_words(parked: ParkReport | None) -> Iterator[str]:
    if parked:
        yield f"PARKED until {iso_minute(parked.until_at)}: {parked.meaning}"
