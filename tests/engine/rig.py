"""The engine on fakes: a clock that takes no time, a manifest and a store in memory, and a library for a registry."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import zoneinfo
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from fakes.catalogue import FakeCatalogue
from fakes.clock import FakeClock
from fakes.http import FakeHttp, Reply
from fakes.ledger import FakeLedger
from fakes.log import FakeLog
from fakes.manifest import FakeManifest
from fakes.registry import FakeRegistry
from fakes.store import FakeStore
from filingd.core.limits import LaneState, restarted
from filingd.core.model import HOLDING_STATES, LEASED_STATES, FlowLimits, Item, State
from filingd.engine.account import Account
from filingd.engine.forgetting import Forgetter
from filingd.engine.gate import Gate, lane_spec_of
from filingd.engine.heartbeat import Heartbeat
from filingd.engine.indexer import Indexer
from filingd.engine.lane import Lane
from filingd.engine.outcomes import Outcomes
from filingd.engine.pacer import LanePacer
from filingd.engine.planner import Planner
from filingd.engine.reconciler import Reconciler
from filingd.engine.rescue import Rescue
from filingd.engine.room import RoomGate
from filingd.engine.supervisor import Engine, Supervisor, Until
from filingd.engine.transfer import Transfer
from filingd.engine.unseal import Unsealer
from filingd.engine.worker import Worker
from support.zips import made_zip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filingd.core.model import AccountSpec, LaneSpec, Request
    from filingd.engine.following import Audience, Follower

KEY = "lib/shelf-1/list"
GROUP = "lib/shelf-1"
TARGET = "lib/shelf-1/list.zip"
SUMS = "lib/shelf-1/SHA256SUMS"
SEAL = "lib/shelf-1/day.json"
KEEP_FREE_BYTES = 1000
HOUR_S = 3600.0
LONGEST_RUN_S = 6 * HOUR_S


def book(text: str = "once upon a time") -> bytes:
    """A body of a zip."""
    return made_zip({"book.json": text.encode()})


def serve_books(request: Request) -> Reply:
    """Every item has a book of its own."""
    return Reply(200, book(request.url))


class SeenSteps:
    """Takes note of the named steps."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def reached(self, step: str) -> None:
        self.seen.append(step)


class AtOnce(ThreadPoolExecutor):
    """Runs work where it is asked for: a thread would be nothing to the fake clock, which then moved on without it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the work
            done.set_exception(error)
        return done


class Refusing:
    """A port one of whose calls fails as often as is said, and then goes through again."""

    def __init__(self, inner: Any, call: str, error: Exception, times: int = 1) -> None:
        self._inner = inner
        self._call = call
        self._error = error
        self.left = times

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._call or not self.left:
            return found

        async def refuse(*_: Any, **__: Any) -> Any:
            self.left -= 1
            raise self._error

        return refuse


class BadSpot:
    """A store on which one call for one body fails once: `stage`, `write`, or a call of the staged body."""

    def __init__(self, inner: FakeStore, target: str, call: str, error: Exception) -> None:
        self._inner = inner
        self._target = target
        self._call = call
        self._error = error
        self.met = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def stage(self, target: str, *given: Any) -> Any:
        """As the store does, but for the bad spot."""
        is_bad = target == self._target and not self.met
        if is_bad:
            self.met += 1
        if is_bad and self._call == "stage":
            raise self._error
        staged = await self._inner.stage(target, *given)
        if is_bad and self._call == "write":
            staged._failed = self._error  # type: ignore[attr-defined]  # as the side thread would
        elif is_bad:
            return Refusing(staged, self._call, self._error)
        return staged


class EngineRig:
    """An engine, its parts and its world. Ports may be exchanged before `build`; `build` again after a death."""

    def __init__(
        self,
        registry: FakeRegistry | None = None,
        respond: Callable[[Request], Reply] = serve_books,
        *,
        overall: int = 4,
        grace_period_s: float = 5.0,
    ) -> None:
        self.registry = registry or FakeRegistry()
        self.clock = FakeClock()
        self.steps = SeenSteps()
        self.store = FakeStore(self.steps)
        self.manifest = FakeManifest()
        self.ledger = FakeLedger()
        self.http = FakeHttp(respond)
        self.log = FakeLog()
        self.catalogue = FakeCatalogue()
        self.catalogues: list[FakeCatalogue] = []  # those that were opened, and how
        self.audience: Audience | None = None
        self.more_followers: Callable[[], list[Follower]] = list
        self.opening: list[Exception] = []  # what opening the catalogue raises, one after the other
        self.manifest_port: Any = self.manifest
        self.ledger_port: Any = self.ledger
        self.store_port: Any = self.store
        self.http_port: Any = self.http
        self.registry_port: Any = self.registry
        self._overall = overall
        self._grace_period_s = grace_period_s
        self._numbers = itertools.count(1)
        asyncio.get_running_loop().set_default_executor(AtOnce())
        self.build()

    def build(self) -> Engine:
        """New parts on the same world."""
        registry, store, manifest = self.registry_port, self.store_port, self.manifest_port
        clock, log = self.clock, self.log
        self.gates = {
            spec.name: Gate(spec, self._pacer(lane_spec_of(spec)), clock, log)
            for spec in self.registry.gates()
        }
        self.accounts = {spec.name: self._account(spec) for spec in self.registry.accounts()}
        self.lanes = {spec.name: self._lane(spec) for spec in self.registry.lanes()}
        self.unsealer = Unsealer(store, manifest, clock, log, self.steps)
        self.reconciler = Reconciler(
            registry, store, manifest, clock, log, self.steps, self.unsealer, self._wake
        )
        self.outcomes = Outcomes(store, manifest, clock, log, self.steps, self.unsealer)
        self.room = RoomGate(store, clock, log, KEEP_FREE_BYTES, check_interval_s=10.0)
        self.worker = Worker(
            registry, self.lanes, Transfer(self.http_port, store, clock, FlowLimits(), KEEP_FREE_BYTES), store, self.outcomes,
            self.reconciler, self.room, asyncio.Semaphore(self._overall), clock, log,
            lambda: f"request-{next(self._numbers)}",
        )  # fmt: skip
        self.planner = Planner(registry, manifest, clock, log, 300.0, self._changed)
        self.rescue = Rescue(registry, store, manifest, clock, log, self.unsealer, self._changed, self.steps)
        self.worker.adopt = self.rescue.settle
        self.forgetter = Forgetter(
            registry, store, manifest, clock, log, self.steps, self.unsealer, self.reconciler.note
        )
        self.rescue.heed(self.forgetter)
        self.worker.forgetter = self.outcomes.forgetter = self.forgetter
        heartbeat = Heartbeat(manifest, self.lanes, self.worker, self.room, clock, log, 60.0, False,
                              accounts=list(self.accounts.values()))  # fmt: skip
        indexer = Indexer(
            registry, store, manifest, self._open_catalogue, clock, log, self.audience, self._wake
        )
        indexer.bury = self.forgetter.bury_found
        self.forgetter.keep_clean(indexer)
        self.engine = Engine(
            self.registry_port, store, self.manifest_port, clock, log, self.lanes, self.worker, self.planner,
            self.reconciler, self.rescue, self.room, heartbeat,
            followers=[indexer, *self.more_followers()],
            forgetter=self.forgetter,
            gates=list(self.gates.values()),
            accounts=list(self.accounts.values()),
        )  # fmt: skip
        self.reconciler.is_in_flux = lambda: not self.forgetter.is_idle
        self.supervisor = Supervisor(self.engine, self._grace_period_s)
        return self.engine

    async def _open_catalogue(self, begins_anew: bool) -> FakeCatalogue:
        if self.opening:
            raise self.opening.pop(0)
        if begins_anew:
            self.catalogue = FakeCatalogue()
        self.catalogues.append(self.catalogue)
        return self.catalogue

    def _pacer(self, spec: LaneSpec) -> LanePacer:
        state = self.manifest.kept_lanes.get(spec.name) or LaneState(spec.name)
        return LanePacer(spec, restarted(state), self.clock, self.manifest_port.save_lane)

    def _account(self, spec: AccountSpec) -> Account:
        kept = [each for each in self.ledger.kept.values() if each.account == spec.name]
        zone = zoneinfo.ZoneInfo(spec.zone)
        return Account(spec, zone, kept, self.ledger_port, self.clock, self.log, self.steps)

    def _lane(self, spec: LaneSpec) -> Lane:
        return Lane(
            spec, self._pacer(spec), self.manifest_port, self.clock, self.log, self.steps,
            self.gates[spec.gate] if spec.gate else None,
            self.accounts[spec.account] if spec.account else None,
        )  # fmt: skip

    def _changed(self, groups: Iterable[str]) -> None:
        self.reconciler.note(groups)
        self._wake()

    def _wake(self) -> None:
        for lane in self.lanes.values():
            lane.wake()

    # ------------------------------------------------------------------ at work

    @property
    def lane(self) -> Lane:
        """The first lane."""
        return next(iter(self.lanes.values()))

    def row(self, key: str = KEY) -> Item:
        """The item as it is recorded."""
        return self.manifest.rows[key]

    async def run(self, until: Until = Until.IDLE) -> None:
        """A whole life of the engine, from rescue to the end, which has to come."""
        await self.ended(await self.begin(until))

    async def begin(self, until: Until = Until.STOPPED) -> asyncio.Task[None]:
        """The same, in the background: until the test says `ended`."""
        self.build()
        return asyncio.create_task(self.supervisor.run(until), name="engine")

    async def ended(self, engine: asyncio.Task[None]) -> None:
        """Wait for the end of a run; it has a few hours, which are over soon."""
        deadline = asyncio.create_task(self.clock.sleep(LONGEST_RUN_S))
        await asyncio.wait({engine, deadline}, return_when=asyncio.FIRST_COMPLETED)
        deadline.cancel()
        if not engine.done():
            engine.cancel()
            open_groups = [group for group in self.manifest.kept_groups.values() if group.sealed_at is None]
            raise AssertionError(f"it did not end; open: {open_groups}; rows: {self.manifest.rows}")
        engine.result()

    async def want(self, key: str = KEY, **fields: Any) -> Item:
        """Have the item due now, and lease it; the item as it is in hand."""
        now = self.clock.now()
        known = self.manifest.rows.get(key) or Item(key, self.registry._lane(key))
        self.manifest.rows[key] = replace(known, due_at=now, **fields)
        (item,) = await self.manifest.lease(self.row(key).lane, now, 1)
        return item

    async def attempt(self, key: str = KEY, **fields: Any) -> Item:
        """Make one attempt at an item and settle it; the item as it is recorded then."""
        item = await self.want(key, **fields)
        await self.worker._handle(self.lanes[item.lane], item)
        return self.row(key)

    async def until(self, happened: Callable[[], Any]) -> None:
        """Let time pass until it is true; at most an hour of it."""
        began_s = self.clock.elapsed_s
        while not happened():
            assert self.clock.elapsed_s - began_s < HOUR_S, "it never happened"
            await self.clock.sleep(0.05)

    # ------------------------------------------------------------------ what holds at rest

    def check_agreement(self) -> None:
        """Rows and files agree, nothing is leased, no seal lies, and nothing is on its way."""
        held = {
            self.registry.target(row.key): row
            for row in self.manifest.rows.values()
            if row.state in HOLDING_STATES
        }
        bodies = {name for name in self.store.published if self.registry.key_of(name)}
        assert bodies == held.keys()
        for target, row in held.items():
            body = self.store.published[target]
            assert (row.size_bytes, row.sha256) == (len(body), hashlib.sha256(body).digest()), row.key
        assert not [row.key for row in self.manifest.rows.values() if row.state in LEASED_STATES]
        assert self.store.partials == {}
        for group in self.manifest.kept_groups.values():
            self.check_sums(group.key, is_sealed=group.sealed_at is not None)

    def check_sums(self, group: str, *, is_sealed: bool) -> None:
        """`SHA256SUMS` is there exactly if the group is sealed, and agrees with what lies beside it."""
        sums = self.store.published.get(f"{group}/SHA256SUMS")
        assert (sums is not None) == is_sealed, group
        self.check_sums_that_exist(group)

    def check_sums_that_exist(self, group: str) -> None:
        """If there is a `SHA256SUMS`, it names exactly the files that lie there, with their digests."""
        sums = self.store.published.get(f"{group}/SHA256SUMS")
        if sums is None:
            return
        named = {line[66:]: line[:64] for line in sums.decode().splitlines()}
        beside = {
            name.rpartition("/")[2]: hashlib.sha256(body).hexdigest()
            for name, body in self.store.published.items()
            if name.startswith(f"{group}/") and not name.endswith("/SHA256SUMS")
        }
        assert named == beside, group


def stored_row(body: bytes, key: str = KEY, lane: str = "lib/desk", **fields: Any) -> Item:
    """The row of a stored body."""
    known = {"state": State.STORED, "due_at": None, "stored_at": 1.0, "version": 1, **fields}
    return Item(key, lane, size_bytes=len(body), sha256=hashlib.sha256(body).digest(), **known)
