"""The promise of a lane: its rate holds in every sliding window, across restarts and clock steps.

**The promise.** A lane of `calls_per_s` = r and `burst` = b releases at most `k + b - 1` calls in any
half-open window of `k / r` seconds, where k is r rounded down, but at least 1. So 100 calls a second with
burst 1 means: never more than 100 in any second, wherever the second begins. A rate below one a second
means at most b calls in any `1 / r` seconds. A rate that is not whole is kept over `k / r` seconds: 2.5 a
second is two calls in any 0.8 s, and a second that is counted from an unlucky instant can hold three.
Where a registry counts whole seconds, configure a whole rate.

Over longer spans the average holds as well: any span of d seconds holds at most `r * (d + CATCH_UP_S) +
b` calls, so that neither bursts nor restarts add up.

**How.** `TokenBucket` hands out absolute slots, so that late wake-ups do not add up and nothing is lost
to drift. `WindowGuard` knows the last releases exactly and holds back a call that would be one too many
in its window; it keeps a margin, because what the registry sees is the arrival. A call that was released
while its connection still has to be made arrives later than that: until it is sent it may arrive at any
moment, so it lies in every window, and then it counts from its sending. The slots are spaced so much wider
than the rate that a call rarely meets the guard. `Pace` is both. All of it is arithmetic on
monotonic seconds that are passed in; the wall clock has no say.

**Across restarts.** Before a call is released, a durable `LaneState.reserved_until_s` lies at or beyond
the moment of its release; the reservation is made ahead, so that it costs no write a call
(`renewed_reservation_s`). Whoever starts later knows from it when the last call can have been released
(`released_until_s`) and waits one window from there.

**Health.** `throttled`, `quota_spent`, `struck`, `blocked`, `rekeyed`, `succeeded` and `unparked` turn one `LaneState` into the
next. An error never makes a lane faster; only successes take back what a throttling slowed down, never
beyond the configured rate.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from filingd.core.errors import ConfigError
from filingd.core.ledger import BUDGET_SPENT, CALLS_SPENT
from filingd.core.retry import backoff_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.model import LaneSpec


class LaneState(msgspec.Struct, frozen=True):
    """What survives of a lane from one run of the daemon to the next.

    `reserved_until_s` is on the monotonic clock of the boot named by `boot_id`: no call was released
    after it, and none may be released before one window has passed since (see `released_until_s`).
    `parked_until_at` (wall clock) and `parked_for_s` (its length, so that a clock that was set back
    cannot park a lane for longer than was meant) close the lane for a while; `park_reason` is one of
    `PARK_REASONS`.
    """

    name: str
    boot_id: str = ""
    reserved_until_s: float = 0.0
    parked_until_at: float | None = None
    parked_for_s: float = 0.0
    park_reason: str | None = None
    slowdown: float = 1.0  # the configured rate is divided by this
    strikes: int = 0  # failures in a row that speak against the lane
    key_index: int = 0  # which of its keys the lane uses
    throttles: int = 0  # times in a row that the registry asked for patience
    blocks: int = (
        0  # calls in a row that the registry refused; a refusal of all keys at once counts for all of them
    )


# ---------------------------------------------------------------- the pace

GUARD_MARGIN_S = (
    0.005  # measured: at 100/s it keeps windows that the registry sees over the limit under 0.2 %
)
SPACING_SLACK_S = (
    0.001  # what slots are wider than guard and margin: a late release is made good within seconds
)
CATCH_UP_S = 0.05  # a slot that is later than this is lost; making good longer stalls would send bursts


class Limit(msgspec.Struct, frozen=True):
    """A rate as numbers: at most `calls` in any half-open window of `window_s` seconds."""

    calls_per_s: float
    burst: int
    calls: int
    window_s: float
    margin_s: float
    spacing_s: float

    @classmethod
    def of(cls, calls_per_s: float, burst: int = 1) -> Limit:
        """The limit that a rate and a burst promise.

        Raises:
            ConfigError: the rate is not above zero, or the burst is below one.
        """
        if not (0 < calls_per_s < math.inf) or burst < 1:
            raise ConfigError(
                f"A lane cannot run at {calls_per_s} calls per second with burst {burst}. "
                "The rate has to be above 0 and finite, the burst at least 1."
            )
        whole = max(1, math.floor(calls_per_s + 1e-9))
        window_s = whole / calls_per_s
        margin_s = min(GUARD_MARGIN_S, GUARD_MARGIN_S * window_s)
        slack_s = min(SPACING_SLACK_S, SPACING_SLACK_S * window_s)
        spacing_s = (window_s + margin_s + slack_s) / whole
        return cls(calls_per_s, burst, whole + burst - 1, window_s, margin_s, spacing_s)


class TokenBucket:
    """GCRA: slots are `spacing_s` apart, after a rest up to `burst` of them at once.

    A slot depends on when a call was wanted and on the slots before it, never on when anybody woke up. The
    whole state is the instant at which the bucket is full again.
    """

    __slots__ = ("_full_at_s", "_limit")

    def __init__(self, limit: Limit, drained_at_s: float = -math.inf) -> None:
        """`drained_at_s` is when the bucket was empty at worst; by default it is full."""
        self._limit = limit
        self._full_at_s = drained_at_s + limit.burst * limit.spacing_s

    def next_slot_s(self, wanted_s: float) -> float:
        """The slot of a call that is wanted since then; it is not taken."""
        return max(wanted_s, self._full_at_s - (self._limit.burst - 1) * self._limit.spacing_s)

    def reserve(self, wanted_s: float) -> float:
        """Take that slot."""
        slot_s = self.next_slot_s(wanted_s)
        self._full_at_s = max(self._full_at_s, slot_s) + self._limit.spacing_s
        return slot_s

    def change(self, limit: Limit, now_s: float) -> None:
        """From now on another limit; what is in the bucket stays in it, but for what no longer fits."""
        missing = max(0.0, self._full_at_s - now_s) / self._limit.spacing_s
        left = min(self._limit.burst - missing, float(limit.burst))
        self._full_at_s = now_s + (limit.burst - left) * limit.spacing_s
        self._limit = limit


class WindowGuard:
    """Holds a call back until its window has room, judged by the exact moments of the last releases.

    After a change the former limit goes on to hold for one window of its own: every window that begins
    before the change keeps the slower of the two.
    """

    __slots__ = ("_former", "_limit", "_older_s", "_releases_s", "_unsent")

    def __init__(self, limit: Limit, unknown_until_s: float = -math.inf) -> None:
        """`unknown_until_s`: any number of calls may have been released until then, nobody knows how many."""
        self._limit = limit
        self._former: list[tuple[Limit, float]] = []
        self._releases_s: deque[float] = deque()  # in order; of calls that were sent late, their sending
        self._unsent = 0
        self._older_s = unknown_until_s  # all releases that are not in the deque are no later than this

    def opens_at_s(self, now_s: float) -> float:
        """The earliest moment for the next release; may be in the past; infinite while it depends on a sending."""
        opens_s = self._room_at_s(self._limit)
        for limit, until_s in self._former:
            if until_s > now_s:
                opens_s = max(opens_s, min(self._room_at_s(limit), until_s))
        return opens_s

    def note(self, released_s: float) -> None:
        """A call was released, and sent at once."""
        self._releases_s.append(released_s)
        while len(self._releases_s) > self._limit.calls:
            self._older_s = self._releases_s.popleft()

    def not_sent_yet(self) -> None:
        """The call that was noted last is not sent yet: until `sent` it may arrive at any moment."""
        self._releases_s.pop()
        self._unsent += 1

    def sent(self, sent_s: float) -> None:
        """One of those was sent, or never will be."""
        self._unsent -= 1
        self.note(sent_s)

    def change(self, limit: Limit, now_s: float) -> None:
        """From now on another limit."""
        former = self._limit
        still_holding = [(held, until_s) for held, until_s in self._former if until_s > now_s]
        self._former = [*still_holding, (former, now_s + former.window_s + former.margin_s)]
        self._limit = limit

    def _room_at_s(self, limit: Limit) -> float:
        sent_calls = (
            limit.calls - self._unsent
        )  # what the window has room for beside those that are not sent yet
        if sent_calls <= 0:
            return math.inf
        known = len(self._releases_s) >= sent_calls
        nth_last_s = self._releases_s[-sent_calls] if known else self._older_s
        return nth_last_s + limit.window_s + limit.margin_s


class Pace:
    """When the next call of a lane may be released: slots for the average, the guard for every window."""

    __slots__ = ("_bucket", "_guard", "_limit")

    def __init__(self, limit: Limit, released_until_s: float = -math.inf) -> None:
        """`released_until_s`: what `released_until_s` says of former runs; the worst is assumed of them."""
        self._limit = limit
        self._bucket = TokenBucket(limit, released_until_s)
        self._guard = WindowGuard(limit, released_until_s)

    @property
    def limit(self) -> Limit:
        """The limit in force."""
        return self._limit

    def opens_at_s(self, wanted_s: float, now_s: float) -> float:
        """When a call that is wanted since then may be released; may be in the past. Nothing is taken.

        Infinite while that depends on the sending of calls that were released.
        """
        slot_s = self._bucket.next_slot_s(max(wanted_s, now_s - CATCH_UP_S))
        return max(slot_s, self._guard.opens_at_s(now_s))

    def release(self, wanted_s: float, now_s: float) -> None:
        """The call is released at this very moment, which is not before `opens_at_s`."""
        self._bucket.reserve(max(wanted_s, now_s - CATCH_UP_S))
        self._guard.note(now_s)

    def not_sent_yet(self) -> None:
        """The call that was just released is not sent yet."""
        self._guard.not_sent_yet()

    def sent(self, now_s: float) -> None:
        """A call of which that was said is sent at this very moment, or never will be."""
        self._guard.sent(now_s)

    def change(self, limit: Limit, now_s: float) -> None:
        """From now on another limit; during the change both hold."""
        if limit != self._limit:
            self._bucket.change(limit, now_s)
            self._guard.change(limit, now_s)
            self._limit = limit


def limit_of(state: LaneState, calls_per_s: float, burst: int) -> Limit:
    """The limit of a lane as configured, less its slowdown."""
    return Limit.of(calls_per_s / state.slowdown, burst)


# ---------------------------------------------------------------- what survives a restart

RESERVE_AHEAD_S = 2.0  # how far beyond the next slot a reservation reaches
RENEW_BELOW_S = 0.5  # it is renewed when less than this is left, time enough to become durable in


def renewed_reservation_s(reserved_until_s: float, needed_s: float, save_took_s: float = 0.0) -> float:
    """The reservation there should be for a release at `needed_s`: the same, if it reaches far enough.

    Where the last one took long to become durable, the next is made earlier and reaches further, lest it be over
    before it counts.
    """
    if reserved_until_s - needed_s >= max(RENEW_BELOW_S, 2 * save_took_s):
        return reserved_until_s
    return needed_s + max(RESERVE_AHEAD_S, 4 * save_took_s)


def released_until_s(state: LaneState, boot_id: str, now_s: float) -> float:
    """The latest moment, on this boot's monotonic clock, at which a former run can have released a call.

    Only one daemon works on a store, so whatever was released was released before this one started, at
    `now_s`; of the same boot we also know the reservation, beyond which nothing was. A lane that has
    never run released nothing.
    """
    if not state.boot_id:
        return -math.inf
    return min(state.reserved_until_s, now_s) if state.boot_id == boot_id else now_s


# ---------------------------------------------------------------- the health of a lane

KEY_MISSING = "key_missing"
# The lane is closed to us until somebody does something, and waiting for it may be in vain.
BLOCKED_REASONS = frozenset({"keys_refused", "refused", KEY_MISSING})
QUOTA = "quota"
_CLOSED_REASONS = BLOCKED_REASONS | {QUOTA}  # a new key, or an order for more, may open it at once
PARK_REASONS: Mapping[str, str] = {
    "throttled": "the registry asked for patience",
    QUOTA: "the calls of this subscription are used up until the registry replenishes them: wait, or order more",
    "failing": "the registry failed several times in a row",
    "keys_refused": "the registry refused every key of this lane: look at the subscription, give a valid key",
    KEY_MISSING: "a key of this lane cannot be read: put it where the configuration says, and it goes on by itself; "
    "the registry was not asked",
    "refused": "the registry refused us for another reason than the key",
    CALLS_SPENT: "the month's calls of its account are used up, as configured: it goes on next month, or after a restart with "
    "more of them",
    BUDGET_SPENT: "the month's budget of its account is used up, as configured: it goes on next month, or after a restart with "
    "a larger one",
}

SLOWDOWN_MOST = 16.0
SLOWDOWN_RECOVERY = 0.98  # a success: from 2 to 1 takes 35 of them, from 16 to 1 it takes 138
THROTTLE_LEAST_S = 1.0
THROTTLE_BASE_S = 20.0
THROTTLE_CAP_S = 3600.0
QUOTA_CAP_S = 31 * 24 * 3600.0  # quotas are renewed each month at the latest
STRIKES_TO_PAUSE = 5
PAUSE_BASE_S = 60.0  # jitter takes off up to half: the first pause is 30 to 60 s
PAUSE_CAP_S = 900.0
PROBE_BASE_S = 300.0
PROBE_CAP_S = 6 * 3600.0


def opens_at(state: LaneState, now: float) -> float:
    """When the lane takes calls again (unix seconds); `now` if it does already.

    A clock that was set back to before the parking cannot make it longer than it was meant to be.
    """
    if state.parked_until_at is None:
        return now
    return max(now, min(state.parked_until_at, now + state.parked_for_s))


def is_open(state: LaneState, now: float) -> bool:
    """Whether the lane takes calls."""
    return opens_at(state, now) <= now


def throttled(
    state: LaneState,
    now: float,
    retry_after_s: float | None,
    *,
    jitter: float = 1.0,
    cap_s: float = THROTTLE_CAP_S,
) -> LaneState:
    """The registry asked for patience (429): park as long as it says, else longer each time.

    The lane goes half as fast from then on, down to a sixteenth. Answers to calls that were under way
    when it was parked can prolong the parking, but do not slow it down again: a storm counts once.
    `retry_after_s` is what `core.retry.parse_retry_after` made of the header; it is kept between one
    second and `cap_s`.
    """
    if not is_open(state, now):
        return state if retry_after_s is None else _parked(state, now, min(retry_after_s, cap_s), "throttled")
    throttles = state.throttles + 1
    grown_s = backoff_s(throttles, THROTTLE_BASE_S, cap_s, jitter)
    wait_s = grown_s if retry_after_s is None else min(retry_after_s, cap_s)
    slowed = replace(state, throttles=throttles, slowdown=min(SLOWDOWN_MOST, state.slowdown * 2))
    return _parked(slowed, now, max(THROTTLE_LEAST_S, wait_s), "throttled")


def quota_spent(state: LaneState, now: float, replenished_in_s: float | None) -> LaneState:
    """The calls of a period are used up (quota 403): park until the registry replenishes them, up to a month.

    The pace had no part in it, so the lane does not slow down. Without word of when, it is asked again after growing
    waits, up to an hour.
    """
    if not is_open(state, now):
        return (
            state
            if replenished_in_s is None
            else _parked(state, now, min(replenished_in_s, QUOTA_CAP_S), QUOTA)
        )
    counted = replace(state, throttles=state.throttles + 1)
    grown_s = backoff_s(counted.throttles, THROTTLE_BASE_S, THROTTLE_CAP_S, 1.0)
    wait_s = grown_s if replenished_in_s is None else min(replenished_in_s, QUOTA_CAP_S)
    return _parked(counted, now, max(THROTTLE_LEAST_S, wait_s), QUOTA)


def struck(state: LaneState, now: float, *, jitter: float = 1.0) -> LaneState:
    """A failure that speaks against the whole lane (5xx, no connection). After five in a row it pauses.

    Pauses grow from 30 s to 15 minutes. Failures of calls that were under way when the pause began do not
    count.
    """
    if not is_open(state, now):
        return state
    strikes = state.strikes + 1
    counted = replace(state, strikes=strikes)
    if strikes < STRIKES_TO_PAUSE:
        return counted
    pause_s = backoff_s(strikes - STRIKES_TO_PAUSE + 1, PAUSE_BASE_S, PAUSE_CAP_S, jitter)
    return _parked(counted, now, pause_s, "failing")


def blocked(
    state: LaneState,
    spec: LaneSpec,
    now: float,
    key_at_fault: bool,
    used_key_index: int | None = None,
    *,
    is_key_missing: bool = False,
) -> LaneState:
    """The registry refused us (401, 403). A key at fault: each key is tried once, then the lane parks.

    Later every probe is again one call a key, 5 minutes to 6 hours apart, until one succeeds or
    `unparked` is said. `used_key_index` is the key of the refused call (`LaneState.key_index` when it was
    made): the refusal of a key that the lane has already left, or one that comes while it is parked, is
    no news. `is_key_missing` says that the key could not be read, so that the registry was not even asked.
    """
    keys = max(1, len(spec.key_names))
    outdated = used_key_index is not None and used_key_index != state.key_index % keys
    if outdated or not is_open(state, now):
        return state
    if key_at_fault:
        counted = replace(state, blocks=state.blocks + 1, key_index=(state.key_index + 1) % keys)
    else:
        counted = replace(state, blocks=(state.blocks // keys + 1) * keys)
    rounds, keys_tried = divmod(counted.blocks, keys)
    if keys_tried:
        return counted
    probe_s = backoff_s(rounds, PROBE_BASE_S, PROBE_CAP_S, 1.0)
    reason = KEY_MISSING if is_key_missing else "keys_refused" if key_at_fault else "refused"
    return _parked(counted, now, probe_s, reason)


def succeeded(state: LaneState) -> LaneState:
    """A call went well: the counts begin anew and a slowed lane gets a little faster.

    Returns the same object if nothing changes, so that a healthy lane costs no write.
    """
    slowdown = max(1.0, state.slowdown * SLOWDOWN_RECOVERY)
    healthy = replace(state, slowdown=slowdown, strikes=0, throttles=0, blocks=0)
    return state if healthy == state else healthy


def unparked(state: LaneState) -> LaneState:
    """An operator, or a reload of the keys, opens the lane at once. Only successes end its slowdown."""
    return replace(
        state, parked_until_at=None, parked_for_s=0.0, park_reason=None, strikes=0, throttles=0, blocks=0
    )


def rekeyed(state: LaneState, key_index: int) -> LaneState:
    """A key of the lane was exchanged: what was refused of the former ones no longer counts, and the new one is tried.

    A lane that is open and was not refused goes on with the key it uses. What parks it for other reasons goes on: patience
    is asked of us, whatever the key; a quota belongs to the subscription, and the new key may be of another one.
    """
    if state.park_reason in _CLOSED_REASONS and state.parked_until_at is not None:
        return replace(unparked(state), strikes=state.strikes, key_index=key_index)
    return replace(state, blocks=0) if state.blocks else state


def reloaded(state: LaneState) -> LaneState:
    """An operator says that something was mended: what closed the lane to us is tried at once."""
    return unparked(state) if state.park_reason in _CLOSED_REASONS else state


def restarted(state: LaneState) -> LaneState:
    """A daemon begins: if the registry had refused us, it is asked once more, since a new key or setting is why one restarts.

    What parks a lane for the registry's own sake (patience asked for, failures) outlives the restart. Why it was parked stays
    known, so that a single call is made first.
    """
    if state.park_reason not in BLOCKED_REASONS:
        return state
    return replace(unparked(state), park_reason=state.park_reason)


def key_name_of(state: LaneState, spec: LaneSpec) -> str | None:
    """The name of the key that the lane uses now; None if it needs none."""
    return spec.key_names[state.key_index % len(spec.key_names)] if spec.key_names else None


def _parked(state: LaneState, now: float, wait_s: float, reason: str) -> LaneState:
    if opens_at(state, now) >= now + wait_s:
        return state
    return replace(state, parked_until_at=now + wait_s, parked_for_s=wait_s, park_reason=reason)
