"""The composition root: settings in, running service out. The only importer of adapters, engine and registries together."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import os
import signal
import sys
import time
import zlib
import zoneinfo
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd import __version__, origins
from filingd.core import events
from filingd.core.errors import ConfigError, DiskFaultError, StoreError, StoreLockedError
from filingd.core.layout import CATALOGUE_NAME, LEDGER_NAME, MANIFEST_NAME
from filingd.core.limits import LaneState, restarted
from filingd.core.model import FlowLimits, LaneSpec, ZipLimits
from filingd.core.redaction import redact_text
from filingd.engine.joined import JoinedRegistry
from filingd.lane_specs import kvk_rules, nbb_lane_spec
from filingd.registries.kvk.operations import PUBLIC_TEST_KEY
from filingd.registries.kvk.registry import KvkRegistry
from filingd.registries.nbb.registry import NbbRegistry
from filingd.registries.nbb.routes import AUTHENTIC_QUERY, DEFAULT_OPERATIONS, IMPROVED, Operation
from filingd.registries.nbb.rules import NbbRules

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from pathlib import Path

    from filingd.adapters.ledger import SqliteLedger
    from filingd.adapters.lock import StoreLock
    from filingd.adapters.logs import StatusLog
    from filingd.adapters.manifest import SqliteManifest
    from filingd.adapters.secrets import Keyring
    from filingd.adapters.watchlists import WatchlistFolder
    from filingd.core.model import Item
    from filingd.engine.account import Account
    from filingd.engine.alarm_watch import AlarmWatch
    from filingd.engine.clock_watch import ClockWatch
    from filingd.engine.erasing import Tally
    from filingd.engine.following import Follower
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.gate import Gate
    from filingd.engine.indexer import Indexer
    from filingd.engine.key_watch import KeyWatch
    from filingd.engine.lane import Lane
    from filingd.engine.reconciler import Reconciler
    from filingd.engine.repair import Repairer
    from filingd.engine.rescue import Rescue
    from filingd.engine.room import RoomGate
    from filingd.engine.supervisor import Engine, Until
    from filingd.engine.verify import Verification, Verifier
    from filingd.ports import (
        Catalogue,
        Clock,
        Commands,
        HttpClient,
        Keys,
        Ledger,
        Log,
        Manifest,
        Registry,
        Steps,
        Store,
        Watchlists,
    )
    from filingd.settings import NbbSettings, Settings

_LOCK_LOOK_S = 0.25
KILL_VARIABLE = "FILINGD_KILL_AT"  # a crash rehearsal; see adapters.steps


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line adds to the configuration of one run."""

    until: Until
    rehearse_at: float | None = None
    console: str = "auto"
    config_path: Path | None = None
    begins_ledger: bool = False


# ------------------------------------------------------------------------------------------ registries


def registry_of(settings: Settings) -> Registry:
    """The configured registries as one.

    Raises:
        ConfigError: none is configured.
    """
    parts = [registry for make in REGISTRIES.values() if (registry := make(settings)) is not None]
    if not parts:
        raise ConfigError(
            "The configuration names no registry, so there is nothing to mirror: write an [nbb] or a [kvk] section. "
            "See `filingd config init`."
        )
    return JoinedRegistry(parts)


def _nbb_registry(settings: Settings) -> Registry | None:
    if settings.nbb is None:
        return None
    lanes = {name: nbb_lane_spec(name, product) for name, product in settings.subscriptions.items()}
    return NbbRegistry(
        nbb_rules(settings, settings.nbb),
        lanes.get(AUTHENTIC_QUERY),
        lanes.get(IMPROVED),
        _nbb_rules(settings, settings.nbb),
    )


def _kvk_registry(settings: Settings) -> Registry | None:
    return None if settings.kvk is None else KvkRegistry(kvk_rules(settings.kvk))


# One line for each registry. What makes one says None where it is not configured.
REGISTRIES: dict[str, Callable[[Settings], Registry | None]] = {
    "nbb": _nbb_registry,
    "kvk": _kvk_registry,
}


def nbb_rules(settings: Settings, nbb: NbbSettings) -> list[NbbRules]:
    """The operator's settings as the rules of each family of days that has a subscription."""
    lanes = {name: nbb_lane_spec(name, product) for name, product in settings.subscriptions.items()}
    common = _nbb_rules(settings, nbb)
    return [
        replace(
            common,
            family=family,
            datasets=datasets,
            products={name: lanes[name] for name in family.products if name in lanes},
        )
        for family, datasets in nbb.families.items()
    ]


def _nbb_rules(settings: Settings, nbb: NbbSettings) -> NbbRules:
    """What is the same for all families."""
    return NbbRules(
        base_url=nbb.base_url,
        since=nbb.since,
        zone=zoneinfo.ZoneInfo(nbb.timezone),
        products={},
        operations=operations(nbb),
        settles_at=nbb.settles_at,
        first_try_at=_first_try_at(nbb, _installation(settings.store.path)),
        extract_max_age_days=nbb.extract_max_age_days,
        extract_last_try_age_days=nbb.extract_last_try_age_days,
        archive_min_age_days=nbb.archive_min_age_days,
        archive_max_age_days=nbb.archive_max_age_days,
        edge_slack_days=nbb.edge_slack_days,
        edge_give_up_age_days=nbb.edge_give_up_age_days,
        empty_confirmations=nbb.empty_confirmations,
        empty_interval_s=nbb.empty_interval_s,
        known_empty_days=frozenset(nbb.known_empty_days),
        expect_filings_on_working_days=nbb.expect_filings_on_working_days,
        not_yet_interval_s=nbb.not_yet_interval_s,
        ask_again_cap_s=nbb.ask_again_cap_s,
        unavailable_interval_s=nbb.unavailable_interval_s,
        publication_lag_days=nbb.publication_lag_days,
        recheck_ages_days=tuple(nbb.recheck_ages_days),
        mismatch_retry_s=tuple(nbb.mismatch_retry_s),
        max_attempts=settings.run.max_attempts,
        retry_base_s=settings.run.retry_base_s,
        retry_cap_s=settings.run.retry_cap_s,
        give_up_pause_s=settings.run.give_up_pause_s,
        max_body_bytes=settings.transfer.max_body_bytes,
        zip_limits=_zip_limits(settings),
        send_request_id=nbb.request_id,
    )


def _installation(store: Path) -> str:
    """What tells this installation from others and stays as it is: a container has another host name at each start."""
    try:
        return f"{store}:{store.stat().st_ino}"
    except OSError:
        return str(store)


def _first_try_at(nbb: NbbSettings, installation: str) -> dt.time:
    """The installation's own moment between the two hours, the same at every start; to the minute."""
    first, last = (hour.hour * 60 + hour.minute for hour in (nbb.first_try_from, nbb.first_try_until))
    minute = first + zlib.crc32(installation.encode()) % (last - first + 1)
    return max(dt.time(minute // 60, minute % 60), nbb.first_try_from)


def operations(nbb: NbbSettings) -> Mapping[tuple[str, str], Operation]:
    """The route table: the built-in one with what the configuration says instead."""
    paths = nbb.paths.by_product
    operations = dict(DEFAULT_OPERATIONS)
    for (product, dataset), usual in DEFAULT_OPERATIONS.items():
        other = getattr(paths[product], dataset, None)
        if other is not None:
            operations[product, dataset] = Operation(other.path or usual.path, other.accept or usual.accept)
    return operations


def _zip_limits(settings: Settings) -> ZipLimits:
    bounds = settings.transfer
    return ZipLimits(
        bounds.max_zip_entries,
        bounds.max_zip_member_bytes,
        bounds.max_zip_ratio,
        bounds.zip_ratio_floor_bytes,
    )


# ------------------------------------------------------------------------------------------ parts


def clock_for(rehearse_at: float | None) -> Clock:
    """The system's clock, or a rehearsal's."""
    from filingd.adapters.clock import RehearsalClock, SystemClock

    return SystemClock() if rehearse_at is None else RehearsalClock(rehearse_at)


def steps_for(environment: Mapping[str, str]) -> Steps:
    """Silent, unless a crash rehearsal is asked for."""
    from filingd.adapters.steps import DeathAt, SilentSteps

    text = environment.get(KILL_VARIABLE)
    return DeathAt.parse(text) if text else SilentSteps()


def flow_limits(settings: Settings) -> FlowLimits:
    """How bodies have to flow."""
    http = settings.http
    return FlowLimits(
        http.connect_timeout_s, http.idle_timeout_s, http.min_bytes_per_s, http.min_rate_window_s
    )


# Keys that registries print for everybody; they open nothing but test environments (KVK reference, section 3).
PUBLIC_KEYS: Mapping[str, str] = {"kvk-test": PUBLIC_TEST_KEY}


def keyring_of(registry: Registry) -> Keyring:
    """The keys of all lanes, each once."""
    from filingd.adapters.secrets import Keyring

    return Keyring([name for lane in registry.lanes() for name in lane.key_names], published=PUBLIC_KEYS)


def check_keys_apart(registry: Registry, keyring: Keyring) -> None:
    """Whether each account spends with keys of its own; a key that cannot be read is not looked at.

    Raises:
        ConfigError: two accounts have one key, so that its allowance would be spent twice. The text names references alone.
    """
    unreadable = keyring.problems()
    owners: dict[str, tuple[str, str]] = {}
    for lane in registry.lanes():
        for name in lane.key_names:
            if lane.account is None or name in unreadable:
                continue
            account, reference = owners.setdefault(keyring.value(name), (lane.account, name))
            if account != lane.account:
                raise ConfigError(
                    f"{account} ({reference}) and {lane.account} ({name}) are one and the same key: what may be spent with it "
                    "would be spent twice. Remove one of the two, or give it a key of its own."
                )


def http_client(settings: Settings, keyring: Keyring) -> HttpClient:
    """The one HTTP client."""
    from filingd.adapters.http import AioHttpClient

    http = settings.http
    ca_bundle = str(http.ca_bundle) if http.ca_bundle else None
    return AioHttpClient(
        keyring.value, http.agent, proxy=http.proxy, ca_bundle=ca_bundle, take_over=http.take_over
    )


# ------------------------------------------------------------------------------------------ the engine


async def build_engine(  # noqa: PLR0915 - one list of parts, in the order in which they need each other
    registry: Registry,
    store: Store,
    manifest: Manifest,
    http: HttpClient,
    clock: Clock,
    log: Log,
    steps: Steps,
    settings: Settings,
    *,
    is_rehearsal: bool = False,
    keys: Keys | None = None,
    key_problems: Mapping[str, str] | None = None,
    redacted: Callable[[str], str] = redact_text,
    open_catalogue: Callable[[bool], Awaitable[Catalogue]] | None = None,
    commands: Commands | None = None,
    watchlists: Sequence[Watchlists] = (),
    ledger: Ledger | None = None,
) -> Engine:
    """Wire the parts of a service together. Lanes that spend of an account need a `ledger`.

    `keys` are looked at while the engine runs, `key_problems` is what their first reading met. `redacted` takes every key
    out of a text that is written down.
    Without `open_catalogue` the catalogue is left as it is, without `watchlists` the companies in them, and without `commands`
    no hook is run: the next run catches up.
    """
    from filingd.adapters.request_ids import RequestIds
    from filingd.engine.clock_watch import ClockWatch
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.heartbeat import Heartbeat
    from filingd.engine.indexer import Indexer
    from filingd.engine.key_watch import KeyWatch
    from filingd.engine.outcomes import Outcomes
    from filingd.engine.planner import Planner
    from filingd.engine.reconciler import Reconciler
    from filingd.engine.rescue import Rescue
    from filingd.engine.room import RoomGate
    from filingd.engine.supervisor import Engine
    from filingd.engine.transfer import Transfer
    from filingd.engine.unseal import Unsealer
    from filingd.engine.watcher import Watcher, Watchers
    from filingd.engine.worker import Worker

    lanes, gates, accounts = await _lanes(registry, manifest, ledger, clock, log, steps)
    run = settings.run
    unsealer = Unsealer(store, manifest, clock, log, steps)

    def wake_lanes() -> None:
        for lane in lanes.values():
            lane.wake()

    pokes: list[Callable[[], None]] = []

    def look_for_alarms() -> None:
        for poke in pokes:
            poke()

    reconciler = Reconciler(
        registry, store, manifest, clock, log, steps, unsealer, wake_lanes, look_for_alarms
    )

    def changed(groups: Iterable[str]) -> None:
        reconciler.note(groups)
        wake_lanes()

    forgetter = Forgetter(registry, store, manifest, clock, log, steps, unsealer, reconciler.note)
    outcomes = Outcomes(store, manifest, clock, log, steps, unsealer, redacted)
    room = RoomGate(store, clock, log, settings.store.keep_free_bytes, run.room_check_interval_s)
    clock_watch = ClockWatch(clock, look_for_alarms)
    worker = Worker(
        registry,
        lanes,
        Transfer(
            http,
            store,
            clock,
            flow_limits(settings),
            settings.store.keep_free_bytes,
            clock_watch.look,
        ),
        store,
        outcomes,
        reconciler,
        room,
        asyncio.Semaphore(run.concurrency),
        clock,
        log,
        RequestIds(),
    )
    rescue = Rescue(registry, store, manifest, clock, log, unsealer, changed, steps)
    worker.adopt = rescue.settle
    rescue.heed(forgetter)
    reconciler.is_in_flux = lambda: not forgetter.is_idle
    worker.forgetter = outcomes.forgetter = forgetter
    planner = Planner(registry, manifest, clock, log, run.plan_interval_s, changed)
    key_watch = KeyWatch(keys, lanes, clock, log, key_problems) if keys is not None else None
    watchers = Watchers([
        Watcher(companies, lists, manifest, clock, log, wake_lanes, on_searches=planner.plan)
        for companies, lists in zip(registry.companies, watchlists, strict=True)
    ]) if watchlists else None  # fmt: skip
    indexer = (
        Indexer(registry, store, manifest, open_catalogue, clock, log, watchers, wake_lanes)
        if open_catalogue
        else None
    )
    if indexer is not None:
        indexer.bury = forgetter.bury_found
        forgetter.keep_clean(indexer)
    if watchers is not None and indexer is not None:
        watchers.tell_filings_to(indexer.wake)
    if watchers is not None and key_watch is not None:
        key_watch.hooks.append(watchers.look)
    alarm_watch = _alarm_watch(
        settings, store, manifest, lanes, accounts, room, clock_watch, key_watch, clock, log
    )
    pokes.append(alarm_watch.poke)
    return Engine(
        registry,
        store,
        manifest,
        clock,
        log,
        lanes,
        worker,
        planner,
        reconciler,
        rescue,
        room,
        Heartbeat(
            manifest,
            lanes,
            worker,
            room,
            clock,
            log,
            settings.log.heartbeat_interval_s,
            is_rehearsal,
            planner.wanted_groups,
            accounts,
        ),
        key_watch,
        [
            *([indexer] if indexer is not None else []),
            *(_hooks(settings, manifest, commands, clock, log) if commands else []),
        ],
        watchers,
        forgetter,
        alarm_watch,
        gates,
        accounts,
    )


def _alarm_watch(
    settings: Settings,
    store: Store,
    manifest: Manifest,
    lanes: Mapping[str, Lane],
    accounts: Sequence[Account],
    room: RoomGate,
    clock_watch: ClockWatch,
    key_watch: KeyWatch | None,
    clock: Clock,
    log: Log,
) -> AlarmWatch:
    """Tells the alarms of a mirror; it looks when a lane's health or a key changes, besides its own rhythm."""
    from filingd.engine.alarm_watch import AlarmWatch, FactGatherer

    observer = settings.nbb.observer if settings.nbb is not None else None
    observed = _nbb_registry(settings)  # others have no days
    gatherer = FactGatherer(
        observer, manifest, observed.expected if observed is not None else lambda _: (), lanes, room,
        settings.store.keep_free_bytes, clock_watch, key_watch, clock, accounts,
    )  # fmt: skip
    watch = AlarmWatch(gatherer, settings.alarm_bounds, settings.run.alarm_repeat_s, store, clock, log)
    for lane in lanes.values():
        lane.on_health.append(watch.poke)
    if key_watch is not None:
        key_watch.on_read = watch.poke
    return watch


async def _lanes(
    registry: Registry,
    manifest: Manifest,
    ledger: Ledger | None,
    clock: Clock,
    log: Log,
    steps: Steps,
) -> tuple[Mapping[str, Lane], Sequence[Gate], Sequence[Account]]:
    """The lanes, the gates that they pass and the accounts that they spend of."""
    from filingd.engine.gate import Gate, lane_spec_of
    from filingd.engine.lane import Lane
    from filingd.engine.pacer import LanePacer

    states = await manifest.lane_states()

    def pacer_of(spec: LaneSpec) -> LanePacer:
        state = states.get(spec.name) or LaneState(spec.name)
        after = restarted(state)
        return LanePacer(spec, after, clock, manifest.save_lane, is_changed=after != state)

    gates = {spec.name: Gate(spec, pacer_of(lane_spec_of(spec)), clock, log) for spec in registry.gates()}
    accounts = await _accounts(registry, ledger, clock, log, steps)
    lanes = {
        spec.name: Lane(
            spec, pacer_of(spec), manifest, clock, log, steps,
            gates[spec.gate] if spec.gate else None,
            accounts[spec.account] if spec.account else None,
        )
        for spec in registry.lanes()
    }  # fmt: skip
    return lanes, list(gates.values()), list(accounts.values())


async def _accounts(
    registry: Registry, ledger: Ledger | None, clock: Clock, log: Log, steps: Steps
) -> Mapping[str, Account]:
    from filingd.engine.account import Account

    specs = registry.accounts()
    if not specs:
        return {}
    assert ledger is not None, "lanes spend of an account, and nobody keeps what they spend"
    spendings = await ledger.spendings()
    return {
        spec.name: Account(
            spec, zoneinfo.ZoneInfo(spec.zone), [each for each in spendings if each.account == spec.name],
            ledger, clock, log, steps,
        )
        for spec in specs
    }  # fmt: skip


def _hooks(
    settings: Settings, manifest: Manifest, commands: Commands, clock: Clock, log: Log
) -> list[Follower]:
    from filingd.engine.hooks import Hook

    hooks = settings.hooks
    return [
        Hook(name, command, hooks.timeout_s, manifest, commands, clock, log)
        for name, command in hooks.by_name.items()
    ]


def locked_store(settings: Settings, clock: Clock) -> StoreLock:
    """The folder of the store, made if it is not there, and its lock, to be entered.

    Raises:
        DiskFullError, DiskFaultError: the folder cannot be made.
    """
    from filingd.adapters.lock import StoreLock

    make_store(settings.store.path)
    return StoreLock(settings.store.path, started_at=clock.now())


@asynccontextmanager
async def opened_store(
    settings: Settings, registry: Registry, steps: Steps, clock: Clock
) -> AsyncIterator[tuple[Store, SqliteManifest]]:
    """The store, which the caller has locked, and its manifest.

    Raises:
        ManifestTooNewError, ManifestDamagedError, DiskFullError, DiskFaultError: it cannot be used.
        StoreError: it holds records of another service.
    """
    from filingd.adapters.lock import LOCK_NAME
    from filingd.adapters.manifest import SqliteManifest
    from filingd.adapters.store import DiskStore

    async with AsyncExitStack() as stack:
        manifest = await SqliteManifest.open(settings.manifest_path, clock_now=clock.now)
        stack.push_async_callback(manifest.close)
        ledgers = (LEDGER_NAME,) if registry.accounts() else ()
        anchored = (
            LOCK_NAME,
            MANIFEST_NAME,
            *ledgers,
            *registry.roots,
        )  # below the last everything is published
        store = DiskStore(settings.store.path, steps, anchored_names=anchored)
        stack.push_async_callback(store.close)
        await origins.claim(store, settings)
        yield store, manifest


@asynccontextmanager
async def opened_ledger(
    settings: Settings, registry: Registry, manifest: Manifest, log: Log, *, may_be_lost: bool = False
) -> AsyncIterator[SqliteLedger | None]:
    """The ledger of a store that the caller has locked; None if nothing is spent. One that is begun is told.

    Raises:
        StoreError: there is none, although calls were made, and it was not said that it `may_be_lost`.
        LedgerTooNewError, LedgerDamagedError, LedgerBusyError, DiskFullError, DiskFaultError: it cannot be used.
    """
    from filingd.adapters.ledger import SqliteLedger

    if not registry.accounts():
        yield None
        return
    path = settings.store.path / LEDGER_NAME
    used = await _lanes_that_spent(registry, manifest)
    if used and not may_be_lost and not await asyncio.to_thread(path.exists):
        raise StoreError(
            f"{path} is not there, although {', '.join(used)} made calls before: what was spent this month is not known. Put a "
            "copy of it back. If there is none, lower calls and budget by what was spent, until the month is over, and start "
            "once with `filingd run --begin-ledger`."
        )
    ledger = await SqliteLedger.open(path)
    try:
        if ledger.is_new:
            _tell_begun(used, log)
        yield ledger
    finally:
        await ledger.close()


async def _lanes_that_spent(registry: Registry, manifest: Manifest) -> Sequence[str]:
    """The lanes and gates, of those that spend, that have ever made a call."""
    states = await manifest.lane_states()
    spend = [spec for spec in registry.lanes() if spec.account]
    return sorted({name for spec in spend for name in (spec.name, spec.gate) if name and name in states})


def _tell_begun(used: Sequence[str], log: Log) -> None:
    if not used:
        log.info(events.LEDGER_BEGUN, path=LEDGER_NAME)
        return
    detail = f"{', '.join(used)} made calls before, and what they cost is not known any more."
    log.warning(events.LEDGER_BEGUN, path=LEDGER_NAME, detail=detail)


def watched_by(settings: Settings, registry: Registry) -> Sequence[WatchlistFolder]:
    """The folders of watchlists with the terms of each list, one for each of `Registry.companies`."""
    from filingd.adapters.watchlists import WatchlistFolder

    return [
        WatchlistFolder(
            where.path,
            where.terms,
            companies.plain_number,
            where.default,
            companies.search_of if companies.knows_searches else None,
            companies.remark_on,
        )
        for companies in registry.companies
        if (where := settings.watchlists[companies.prefix.partition("/")[0]])
    ]


async def follow_lists(settings: Settings, registry: Registry, manifest: Manifest | None) -> None:
    """Let the registry know who is followed, where no engine follows the lists: see `followed.follow_once`."""
    from filingd.adapters.watchlists import WatchlistFiles
    from filingd.engine.followed import follow_once

    lists = [WatchlistFiles(folder) for folder in watched_by(settings, registry)]
    await follow_once(registry, lists, manifest)


async def _opened_catalogue(settings: Settings, manifest: Manifest, begins_anew: bool) -> Catalogue:
    """The catalogue without what was forgotten; with an enterprise whose traces are still to be erased, as it tells of them."""
    from filingd.adapters import catalogue_schema
    from filingd.adapters.catalogue import SqliteCatalogue
    from filingd.core.forgetting import forgotten_by

    path = settings.store.path / CATALOGUE_NAME
    if begins_anew:
        await asyncio.to_thread(catalogue_schema.remove, path)
    tombstones = [one for one in await manifest.tombstones() if one.erased_at or not one.is_enterprise]
    return await SqliteCatalogue.open(path, forgotten=forgotten_by(tombstones))


# ------------------------------------------------------------------------------------------ upkeep

_INDEX_LOOK_S = 0.05
_PATIENCE_S = 60.0  # how long a repair waits for an item that failed and is to be tried again


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What verification and repair work with. `locked_by` names the daemon that has the store, if one has it;
    `remembers` says whether what is verified is noted."""

    settings: Settings
    registry: Registry
    store: Store
    manifest: Manifest
    clock: Clock
    log: StatusLog
    keyring: Keyring
    verifier: Verifier
    locked_by: str | None
    remembers: bool

    async def repairer(self) -> Repairer:
        """Takes findings to the point where fetching again is all that is left.

        From now on the registry knows who is followed, also by what a body names that is set aside.

        Raises:
            StoreError: it cannot be told what is to be forgotten.
        """
        from filingd.adapters.steps import SilentSteps
        from filingd.engine.forgetting import Forgetter
        from filingd.engine.repair import Repairer
        from filingd.engine.unseal import Unsealer

        unsealer = Unsealer(self.store, self.manifest, self.clock, self.log)
        forgetter = Forgetter(
            self.registry, self.store, self.manifest, self.clock, self.log, SilentSteps(), unsealer
        )
        await forgetter.load()
        await follow_lists(self.settings, self.registry, self.manifest)
        repairer = Repairer(
            self.registry, self.store, self.manifest, self.clock, self.log, self.verifier, unsealer
        )
        repairer.heed(forgetter)
        return repairer

    async def seal_again(self, groups: Iterable[str]) -> None:
        """Judge groups anew, from what lies on the disk."""
        from filingd.adapters.steps import SilentSteps
        from filingd.engine.reconciler import Reconciler
        from filingd.engine.unseal import Unsealer

        unsealer = Unsealer(self.store, self.manifest, self.clock, self.log)
        reconciler = Reconciler(
            self.registry, self.store, self.manifest, self.clock, self.log, SilentSteps(), unsealer
        )
        for group in groups:
            await reconciler.reconcile(group)

    async def fetch(self, keys: Collection[str]) -> Mapping[str, Item]:
        """Run an engine for these items alone, until each is settled or has to wait long; how they are then."""
        from filingd.core.model import FINISHED_STATES

        give_up_s = self.clock.monotonic() + _PATIENCE_S
        while True:
            await self._fetch_once(keys)
            known = await self.manifest.items(keys)
            left = [item.due_at for item in known.values() if item.state not in FINISHED_STATES]
            wait_s = min((due_at for due_at in left if due_at is not None), default=0.0) - self.clock.now()
            # What is due and yet was not done waits for a lane that is closed to us: waiting here is in vain.
            if wait_s <= 0.0 or self.clock.monotonic() + wait_s > give_up_s:
                return known
            await self.clock.sleep(wait_s)

    async def _fetch_once(self, keys: Collection[str]) -> None:
        from filingd.adapters.steps import SilentSteps
        from filingd.engine.repair import only_these
        from filingd.engine.supervisor import Supervisor, Until

        check_keys_apart(self.registry, self.keyring)
        await origins.claim(self.store, self.settings)
        http = http_client(self.settings, self.keyring)
        async with opened_ledger(self.settings, self.registry, self.manifest, self.log) as ledger:
            try:
                engine = await build_engine(
                    self.registry, self.store, only_these(self.manifest, keys), http, self.clock, self.log,
                    SilentSteps(), self.settings,
                    redacted=lambda text: redact_text(text, self.keyring.values()),
                    ledger=ledger,
                )  # fmt: skip
                supervisor = Supervisor(engine, self.settings.run.grace_period_s, is_errand=True)
                await supervisor.run(Until.IDLE)
            finally:
                await http.close()


@asynccontextmanager
async def opened_for_upkeep(
    settings: Settings,
    rehearse_at: float | None,
    *,
    wants_repair: bool,
    on_progress: Callable[[Verification], None] = lambda _: None,
) -> AsyncIterator[Upkeep]:
    """The store for verification: beside a running daemon, or with its lock if it is to be repaired and that is free.

    Who may only read it may verify it all the same: then nothing is noted, neither in the manifest nor in the log.

    Raises:
        StoreError, DiskFaultError: there is no manifest, the store cannot be used, or may not be repaired by this user.
    """
    from filingd.adapters.logs import open_status_log
    from filingd.adapters.manifest import SqliteManifest
    from filingd.adapters.manifest_commands import ManifestReader
    from filingd.adapters.steps import SilentSteps
    from filingd.adapters.store import DiskStore
    from filingd.engine.verify import Verifier

    ManifestReader(settings.manifest_path).close()  # says in words that there is none, instead of making one
    may_write = _may_write(settings)
    if wants_repair and not may_write:
        raise DiskFaultError(
            f"The store {settings.store.path} can only be read here, so nothing of it can be repaired. "
            "Be the user that filingd runs as (root would leave it files of its own), "
            "and check that the file system is not mounted read-only."
        )
    registry, clock = registry_of(settings), clock_for(rehearse_at)
    keyring = keyring_of(registry)
    async with AsyncExitStack() as stack:
        repairs = "filingd verify --repair"
        locked_by = _lock_if_free(stack, settings, clock, repairs) if wants_repair else None
        manifest = await (
            SqliteManifest.open(settings.manifest_path, clock_now=clock.now)
            if may_write
            else SqliteManifest.open_read_only(settings.manifest_path)
        )
        stack.push_async_callback(manifest.close)
        store = DiskStore(settings.store.path, SilentSteps(), mends_indexes=may_write)
        stack.push_async_callback(store.close)
        log_file = settings.log_file if may_write else None
        log = open_status_log(log_file, clock.now, keyring.values, settings.log.level, console="off")
        stack.push_async_callback(asyncio.to_thread, log.close)
        verifier = Verifier(registry, store, manifest, clock, log, on_progress, remembers=may_write)
        yield Upkeep(settings, registry, store, manifest, clock, log, keyring, verifier, locked_by, may_write)


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What `filingd forget` works with. `locked_by` names the daemon that has the store, if one has it: it erases."""

    settings: Settings
    registry: Registry
    store: Store
    manifest: Manifest
    clock: Clock
    forgetter: Forgetter
    rescue: Rescue
    reconciler: Reconciler
    indexer: Indexer | None
    locked_by: str | None
    touched: set[str]
    root: Path

    async def erase(self) -> Tally:
        """Erase what is pending, judge the days anew whose bodies were exchanged, and bring the catalogue up. Needs the store's
        lock.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; what is not erased stays pending.
        """
        await self.rescue.in_flight()
        indexing = asyncio.create_task(self.indexer.run()) if self.indexer else None
        try:
            return await self.forgetter.erase()
        finally:
            if self.touched:
                await follow_lists(self.settings, self.registry, self.manifest)
            for group in sorted(self.touched):
                await self.reconciler.reconcile(group)
            if self.indexer is not None and indexing is not None:
                await self._index(self.indexer, indexing)

    @staticmethod
    async def _index(indexer: Indexer, indexing: asyncio.Task[None]) -> None:
        while not (indexing.done() or await indexer.is_current()):
            indexer.wake()
            await asyncio.wait({indexing}, timeout=_INDEX_LOOK_S)
        indexing.cancel()
        await asyncio.gather(indexing, return_exceptions=True)


@asynccontextmanager
async def opened_for_forgetting(
    settings: Settings, rehearse_at: float | None, *, is_dry: bool = False, has_lock: bool = False
) -> AsyncIterator[Forgetting]:
    """The store, so that something in it can be forgotten: beside a running daemon, or with its lock. `has_lock`: the caller
    has it.

    Raises:
        StoreError, DiskFaultError: there is no manifest, the store cannot be used, or may not be changed by this user.
    """
    from filingd.adapters.lock import LOCK_NAME
    from filingd.adapters.logs import open_status_log
    from filingd.adapters.manifest import SqliteManifest
    from filingd.adapters.manifest_commands import ManifestReader
    from filingd.adapters.store import DiskStore
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.indexer import Indexer
    from filingd.engine.reconciler import Reconciler
    from filingd.engine.rescue import Rescue
    from filingd.engine.unseal import Unsealer

    ManifestReader(settings.manifest_path).close()  # says in words that there is none, instead of making one
    may_write = _may_write(settings)
    if not (may_write or is_dry):
        raise DiskFaultError(
            f"The store {settings.store.path} can only be read here, so nothing in it can be forgotten. Be the user that "
            "filingd runs as, and check that the file system is not mounted read-only."
        )
    registry, clock, steps = registry_of(settings), clock_for(rehearse_at), steps_for(os.environ)
    async with AsyncExitStack() as stack:
        takes_lock = not (is_dry or has_lock)
        locked_by = _lock_if_free(stack, settings, clock, "filingd forget") if takes_lock else None
        manifest = await (
            SqliteManifest.open_read_only(settings.manifest_path)
            if is_dry
            else SqliteManifest.open(settings.manifest_path, clock_now=clock.now)
        )
        stack.push_async_callback(manifest.close)
        anchored = (LOCK_NAME, MANIFEST_NAME, *registry.roots)
        store = DiskStore(settings.store.path, steps, anchored_names=anchored, mends_indexes=may_write)
        stack.push_async_callback(store.close)
        log_file = settings.log_file if may_write and not is_dry else None
        log = open_status_log(log_file, clock.now, level=settings.log.level, console="off")
        stack.push_async_callback(asyncio.to_thread, log.close)
        unsealer, touched = Unsealer(store, manifest, clock, log, steps), set[str]()
        forgetter = Forgetter(registry, store, manifest, clock, log, steps, unsealer, touched.update)
        indexer = None
        if not is_dry and locked_by is None and (settings.store.path / CATALOGUE_NAME).exists():
            opens = functools.partial(_opened_catalogue, settings, manifest)
            indexer = Indexer(registry, store, manifest, opens, clock, log)
            indexer.bury = forgetter.bury_found
            forgetter.keep_clean(indexer)
        rescue = Rescue(registry, store, manifest, clock, log, unsealer, touched.update, steps)
        rescue.heed(forgetter)
        if not is_dry:
            await forgetter.load()
        reconciler = Reconciler(registry, store, manifest, clock, log, steps, unsealer)
        yield Forgetting(
            settings, registry, store, manifest, clock, forgetter, rescue, reconciler, indexer, locked_by,
            touched, settings.store.path,
        )  # fmt: skip


def _may_write(settings: Settings) -> bool:
    """Whether this user may change the store as it is mounted; SQLite needs the folder for its side files.

    Root may, but should not where the daemon is another user: what it makes, that user could not change.
    """
    if os.geteuid() == 0 and settings.manifest_path.stat().st_uid != 0:
        return False
    return all(os.access(path, os.W_OK) for path in (settings.store.path, settings.manifest_path))


def _lock_if_free(stack: AsyncExitStack, settings: Settings, clock: Clock, purpose: str) -> str | None:
    """Take the lock for the life of the stack; if another process has it, say which."""
    from filingd.adapters.lock import StoreLock, lock_holder

    try:
        stack.enter_context(StoreLock(settings.store.path, started_at=clock.now(), purpose=purpose))
    except StoreLockedError:
        holder = lock_holder(settings.store.path)
        return f"{holder.purpose} (pid {holder.pid})" if holder else "another process"
    return None


def make_store(path: Path) -> None:
    """Make the folder of the store, if it is not there.

    Raises:
        DiskFullError, DiskFaultError: it cannot be made.
    """
    from filingd.adapters.disk import disk_errors

    with disk_errors("make the store", path):
        path.mkdir(mode=0o750, parents=True, exist_ok=True)


# ------------------------------------------------------------------------------------------ a run


def run(settings: Settings, options: RunOptions) -> None:
    """Run the daemon to its end. The lock comes before the log: whoever comes second writes nothing into it.

    Raises:
        StoreLockedError: another process has the store.
        FilingdError: it could not start, or a part of it died.
    """
    import uvloop

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload before anything was read is done already
    registry, clock = registry_of(settings), clock_for(options.rehearse_at)
    with (
        _outlasting_commands(locked_store(settings, clock), settings.store.path),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(settings, options, registry, clock))


@contextmanager
def _outlasting_commands(lock: StoreLock, store: Path) -> Iterator[None]:
    """Take the lock; while a command has it, such as `filingd doctor`, wait: a service that is started just then must not stay
    down because of it."""
    from filingd.adapters.lock import RUN_PURPOSE, lock_holder

    waits_for: int | None = None
    while not _is_acquired(lock):
        holder = lock_holder(store)
        if holder is None or holder.purpose == RUN_PURPOSE:
            lock.acquire()  # says who has it, unless it was let go just now
            break
        if holder.pid != waits_for:
            waits_for = holder.pid
            sys.stderr.write(f"filingd: waiting for {holder.purpose} (pid {holder.pid}) to end.\n")
        time.sleep(_LOCK_LOOK_S)
    try:
        yield
    finally:
        lock.release()


def _is_acquired(lock: StoreLock) -> bool:
    try:
        lock.acquire()
    except StoreLockedError:
        return False
    return True


async def _serve(settings: Settings, options: RunOptions, registry: Registry, clock: Clock) -> None:
    from filingd.adapters.logs import capture_libraries, open_status_log

    keyring = keyring_of(registry)
    check_keys_apart(registry, keyring)
    log = open_status_log(
        settings.log_file, clock.now, keyring.values, settings.log.level, console=options.console
    )
    release = capture_libraries(log)
    try:
        _say_start(settings, options, clock, log)
        await _run_engine(settings, options, registry, keyring, clock, log)
    except Exception as error:
        log.error(events.DAEMON_FAILED, error=type(error).__name__, detail=str(error))
        raise
    finally:
        release()
        await asyncio.to_thread(log.close)


async def _run_engine(
    settings: Settings,
    options: RunOptions,
    registry: Registry,
    keyring: Keyring,
    clock: Clock,
    log: StatusLog,
) -> None:
    from filingd.adapters.commands import CommandRunner
    from filingd.adapters.secrets import KeyFiles
    from filingd.adapters.watchlists import WatchlistFiles
    from filingd.engine.supervisor import Supervisor

    steps = steps_for(os.environ)
    async with (
        opened_store(settings, registry, steps, clock) as (store, manifest),
        opened_ledger(settings, registry, manifest, log, may_be_lost=options.begins_ledger) as ledger,
    ):
        http = http_client(settings, keyring)
        try:
            engine = await build_engine(
                registry, store, manifest, http, clock, log, steps, settings,
                is_rehearsal=options.rehearse_at is not None,
                keys=KeyFiles(keyring),
                key_problems=keyring.problems(),
                redacted=lambda text: redact_text(text, keyring.values()),
                open_catalogue=functools.partial(_opened_catalogue, settings, manifest),
                commands=CommandRunner(),
                watchlists=[WatchlistFiles(folder) for folder in watched_by(settings, registry)],
                ledger=ledger,
            )  # fmt: skip
            supervisor = Supervisor(engine, settings.run.grace_period_s)
            manifest.outlast_full_disk(engine.room.outlast)
            manifest.outlast_busy(supervisor.outlast_busy)
            if ledger is not None:
                ledger.outlast_full_disk(engine.room.outlast)
                ledger.outlast_busy(supervisor.outlast_busy)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, supervisor.stop)
            loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
            await supervisor.run(options.until)
        finally:
            await http.close()


def _say_start(settings: Settings, options: RunOptions, clock: Clock, log: Log) -> None:
    config = str(options.config_path) if options.config_path else None
    log.info(
        events.DAEMON_STARTED,
        version=__version__,
        pid=os.getpid(),
        store=str(settings.store.path),
        config=config,
    )
    if options.rehearse_at is not None:
        log.warning(events.CLOCK_REHEARSED, rehearsed_at=clock.now())
