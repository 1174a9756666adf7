"""What `filingd doctor` does, put together: looks at configuration, machine and store, and asks each product a few times.

With no daemon it takes the store's lock while it asks, so that no daemon begins meanwhile, and lets go when its calls lie outside
every window: the limits hold as if a daemon had made them. Beside a running daemon it asks nothing, because two cannot keep
one limit together, unless it is told to.
"""

from __future__ import annotations

import asyncio
import zoneinfo
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filingd import app, doctor_kvk
from filingd.core import calendar
from filingd.core.checkup import Finding, ok, problem, remark, skipped
from filingd.core.errors import ConfigError, FilingdError, StoreLockedError
from filingd.core.model import LaneSpec, Request, SecretRef
from filingd.core.retry import http_date_at
from filingd.registries.nbb import probes
from filingd.registries.nbb.routes import KEY_HEADER, REQUEST_ID_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.adapters.secrets import Keyring
    from filingd.core.limits import LaneState
    from filingd.core.model import Answer
    from filingd.engine.probing import Prober
    from filingd.ports import Clock
    from filingd.registries.nbb.probes import Probe, Reading
    from filingd.settings import NbbSettings, Settings
    from filingd.settings_kvk import KvkSettings

_PURPOSE = "filingd doctor"
_BESIDE_DAEMON = (
    "a daemon works on the store, and the limits are its to keep: `filingd status` shows how its lanes do, "
    "--probe asks all the same"
)


def configured(settings: Settings) -> list[str]:
    """The names of the registries that are configured."""
    sections = {"nbb": settings.nbb, "kvk": settings.kvk}
    return [name for name, section in sections.items() if section is not None]


def examine_configuration(path: Path, settings: Settings) -> Iterator[Finding]:
    """What can be said of a configuration that was read without an error."""
    if not configured(settings):
        remedy = "Write an [nbb] or a [kvk] section; see `filingd config init`."
        yield problem("configuration", str(path), "no registry is configured", remedy)
        return
    yield ok("configuration", str(path), "every option is known and sound")
    if settings.http.contact is None and settings.http.user_agent is None:
        detail = (
            "http.contact is not set: the registry cannot tell you when something is wrong with your calls"
        )
        yield remark("configuration", str(path), detail, "Set [http] contact.")
    for family in settings.nbb.families if settings.nbb is not None else ():
        for product in family.products:
            if product not in settings.subscriptions:
                detail = f"nbb.products.{product} is not configured: days of its window cannot be had"
                yield remark(
                    "configuration", str(path), detail, f"Order it, and write [nbb.products.{product}]."
                )


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Store, manifest, log, time zone: everything that needs no call."""
    from filingd.adapters import checks

    yield from checks.store_findings(settings.store.path, settings.store.keep_free_bytes)
    yield checks.daemon_finding(settings.store.path)
    yield checks.manifest_finding(settings.manifest_path)
    yield checks.log_finding(settings.log_file)
    for zone in dict.fromkeys(
        section.timezone for section in (settings.nbb, settings.kvk) if section is not None
    ):
        yield checks.zone_finding(zone)


def examine_keys(settings: Settings, keyring: Keyring) -> Iterator[Finding]:
    """Keys that cannot be read, and those that are the same where there should be two."""
    broken = keyring.problems()
    for lane, references in settings.key_references.items():
        for reference in references:
            if reference in broken:
                yield problem("key", f"{lane} ({reference})", "it cannot be read", broken[reference])
        values = [keyring.value(reference) for reference in references if reference not in broken]
        if len(set(values)) < len(values):
            remedy = "Put the other key of the subscription there: with two, one can be renewed while the other works."
            yield remark("key", lane, "two references hold the same key", remedy)
        if len(references) == 1 and lane.startswith(
            "nbb/"
        ):  # a subscription has two keys, an account of KVK has one
            remedy = "Name the subscription's second key as well: with two, one can be renewed while the other works."
            yield remark("key", lane, "only one key is configured", remedy)


# ------------------------------------------------------------------------------------------ calls


def examine_products(
    settings: Settings, keyring: Keyring, clock: Clock, *, may_probe_beside_daemon: bool
) -> list[Finding]:
    """Ask each product with each of its keys and by each of its paths."""
    names = configured(settings)
    with ExitStack() as held:
        refusal = _hold_store(held, settings, clock)
        if refusal is not None and not may_probe_beside_daemon:
            return [skipped("calls", name, refusal) for name in names]
        try:
            return asyncio.run(_ask_all(settings, keyring, clock, is_alone=refusal is None)) if names else []
        except (
            ConfigError
        ) as error:  # such as a bundle of certificates that is not there: no call can be made at all
            return [problem("calls", name, "no call can be made", str(error)) for name in names]


def _hold_store(held: ExitStack, settings: Settings, clock: Clock) -> str | None:
    """Keep daemons away while calls are made; why that cannot be, if it cannot."""
    from filingd.adapters import checks
    from filingd.adapters.lock import StoreLock

    if settings.kvk is not None:  # its calls are booked, wherever they are made
        try:
            app.make_store(settings.store.path)
        except FilingdError as error:
            return str(error)

    if not checks.may_lock(settings.store.path):
        return None  # nobody has ever worked there, or we could not leave it as it was
    try:
        held.enter_context(StoreLock(settings.store.path, started_at=clock.now(), purpose=_PURPOSE))
    except StoreLockedError:
        return _BESIDE_DAEMON
    except FilingdError as error:
        return str(error)
    return None


async def _ask_all(settings: Settings, keyring: Keyring, clock: Clock, *, is_alone: bool) -> list[Finding]:
    from filingd.engine.probing import Prober

    http = app.http_client(settings, keyring)
    former = await asyncio.to_thread(_lane_states, settings)
    flow = app.flow_limits(settings)
    answers: list[tuple[float, Answer]] = []
    try:
        found = await asyncio.to_thread(_name_findings, settings)
        works = []
        for product, spec in _specs(settings).items():
            prober = Prober(spec, former.get(spec.name), http, clock, flow)
            if settings.nbb is not None:
                works.append(_ask_product(product, spec, prober, settings.nbb, keyring, clock, answers))
        if settings.kvk is not None and not is_alone:
            found.append(skipped("calls", "kvk", doctor_kvk.BESIDE_DAEMON))
        elif settings.kvk is not None:
            spec = doctor_kvk.gate_as_lane(settings.kvk)
            prober = Prober(spec, former.get(spec.name), http, clock, flow)
            works.append(
                _ask_kvk(
                    settings, settings.kvk, prober, keyring, clock, answers, asked_before=spec.name in former
                )
            )
        for findings in await asyncio.gather(*works):
            found += findings
    finally:
        await http.close()
    return [*found, *_clock_findings(answers, settings.run.max_clock_skew_s)]


def _specs(settings: Settings) -> Mapping[str, LaneSpec]:
    return {
        product: LaneSpec(f"nbb/{product}", known.calls_per_second, known.burst, 1, known.keys)
        for product, known in settings.subscriptions.items()
    }


def _lane_states(settings: Settings) -> Mapping[str, LaneState]:
    """What is remembered of the lanes; nothing if there is no manifest that can be read, which is told elsewhere."""
    from filingd.adapters.manifest_reader import ManifestReader

    try:
        with ManifestReader(settings.manifest_path) as reader:
            return reader.lane_states()
    except FilingdError:
        return {}


def _name_findings(settings: Settings) -> list[Finding]:
    from filingd.adapters import checks

    proxy = settings.http.proxy
    urls = [section.base_url for section in (settings.nbb, settings.kvk) if section is not None]
    hosts = dict.fromkeys(urlsplit(proxy or url).hostname or "" for url in urls)
    return [checks.name_finding(host, is_proxy=proxy is not None) for host in hosts]


async def _ask_kvk(
    settings: Settings, kvk: KvkSettings, prober: Prober, keyring: Keyring, clock: Clock,
    answers: list[tuple[float, Answer]], *, asked_before: bool,
) -> list[Finding]:  # fmt: skip
    async def ask(request: Request) -> Answer:
        answer = await prober.ask(request)
        answers.append((clock.now(), answer))
        return answer

    return await doctor_kvk.ask_keys(
        settings, kvk, prober, ask, keyring.problems(), clock, asked_before=asked_before
    )


async def _ask_product(
    product: str, spec: LaneSpec, prober: Prober, nbb: NbbSettings, keyring: Keyring, clock: Clock,
    answers: list[tuple[float, Answer]],
) -> list[Finding]:  # fmt: skip
    broken = keyring.problems()
    usable = [number for number, name in enumerate(spec.key_names) if name not in broken]
    today = calendar.day_at(clock.now(), zoneinfo.ZoneInfo(nbb.timezone))
    tried: list[tuple[Probe, Reading]] = []

    async def ask(probe: Probe) -> bool:
        answer = await prober.ask(_request(probe, spec.key_names, send_request_id=nbb.request_id))
        answers.append((clock.now(), answer))
        reading = probes.read(product, answer)
        tried.append((probe, reading))
        return reading.trouble is None

    for probe in probes.probes(product, app.operations(nbb), nbb.base_url, usable, today):
        if not await ask(probe):  # what is wrong with the service is so for the next call as well
            break
    else:
        for probe in probes.second_probes(tried):
            await ask(probe)
    await prober.rest()
    return probes.findings(product, spec.key_names, tried)


def _request(probe: Probe, key_names: Sequence[str], *, send_request_id: bool) -> Request:
    from filingd.adapters.request_ids import RequestIds

    request_id = RequestIds()()
    headers = [("Accept", probe.accept), ("Cache-Control", "no-cache")]
    if send_request_id:
        headers.append((REQUEST_ID_HEADER, request_id))
    return Request(probe.url, tuple(headers), request_id, SecretRef(KEY_HEADER, key_names[probe.key_number]))


def _clock_findings(answers: Sequence[tuple[float, Answer]], max_skew_s: float) -> Iterator[Finding]:
    for now, answer in answers:
        said = answer.head.header("date") if answer.head else None
        said_at = http_date_at(said, now) if said else None
        if said_at is not None:
            yield _clock_finding(now - said_at, max_skew_s)
            return
    yield skipped("clock", "registry", "no answer said what time it is there")


def _clock_finding(ahead_s: float, max_skew_s: float) -> Finding:
    which = "ahead of" if ahead_s > 0 else "behind"
    detail = f"this machine's clock is {abs(ahead_s):.0f} s {which} the registry's"
    if abs(ahead_s) <= max_skew_s:
        return ok("clock", "registry", detail)
    return problem("clock", "registry", detail, "Set it right: timedatectl status")


def broken_configuration(path: Path, error: ConfigError) -> Finding:
    """The finding for a configuration that cannot be used."""
    return problem(
        "configuration", str(path), str(error), "Mend it; `filingd config schema` has every option."
    )
