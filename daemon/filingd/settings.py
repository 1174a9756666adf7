"""Configuration: TOML in, frozen structs out. What the file calls `idle_timeout` is `idle_timeout_s` here.

Every option has a careful default except what only the operator can know: the first day wanted and where the
keys are. The names, meanings and defaults below are the one source of `filingd config schema`.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
import tomllib
import zoneinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from filingd import __version__
from filingd.core import units
from filingd.core.errors import ConfigError
from filingd.core.layout import MANIFEST_NAME
from filingd.core.redaction import redact_text
from filingd.registries.nbb.families import AUTHENTIC, FAMILIES, IMPROVED_DATA, Family
from filingd.registries.nbb.routes import AUTHENTIC_QUERY
from filingd.registries.nbb.terms import NbbTerms
from filingd.settings_kinds import (
    AgeDays,
    BaseUrl,
    ByteCount,
    ByteCountOrNone,
    CompanyPath,
    Contact,
    Count,
    Day,
    DocumentPath,
    FilePath,
    ImprovedPath,
    KeyReference,
    MediaType,
    PathTemplate,
    ProxyUrl,
    Seconds,
    SecondsOrNone,
    Section,
    TimeOfDay,
    UserAgent,
    WatchlistPlace,
    Zone,
    says,
)
from filingd.settings_kvk import KvkSettings, KvkWatchSettings
from filingd.settings_reader import NamedSections, Problem, Reader, kind_of, section_of, unwrap, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.core.alarms import Bounds
    from filingd.registries.nbb.observing import Observer


PRODUCTS = (*(product for family in FAMILIES for product in family.products), AUTHENTIC_QUERY)

LogLevel = Literal["debug", "info", "warning", "error"]
Dataset = Literal["references", "json", "xbrl", "pdf"]
ImprovedDataset = Literal["references", "json"]
DocumentKind = Literal["json", "xbrl", "pdf"]


# ------------------------------------------------------------------------------------------ sections


class StoreSettings(Section, frozen=True):
    """Where the copy lives."""

    path: Annotated[
        FilePath, says("Folder of the store. A relative path starts at the folder of this file.")
    ] = field(default_factory=partial(Path, "/var/lib/filingd"))
    keep_free_bytes: Annotated[
        ByteCountOrNone,
        says("Room to leave on the disk of the store. Below it downloads pause, and go on by themselves."),
    ] = field(default=units.parse_size("5 GiB"), name="keep_free")


class LogSettings(Section, frozen=True):
    """The status log."""

    path: Annotated[
        FilePath | None,
        says('The log file. Default: log/filingd.jsonl in the store. "-" is standard output and no file.'),
    ] = None
    level: Annotated[LogLevel, says("The least important lines that are written.")] = "info"
    heartbeat_interval_s: Annotated[
        Seconds, says("How often a line says how far the mirror is and how each lane does.")
    ] = field(default=units.parse_duration("60 s"), name="heartbeat_interval")


class HttpSettings(Section, frozen=True):
    """How filingd talks to a registry."""

    contact: Annotated[
        Contact | None,
        says("Whom the registry may write to; becomes part of the User-Agent. mailto: or https:."),
    ] = None
    user_agent: Annotated[
        UserAgent | None,
        says("The whole User-Agent, instead of filingd/VERSION (+CONTACT). Registries refuse browser names."),
    ] = None
    connect_timeout_s: Annotated[Seconds, says("How long a connection may take to be made.")] = field(
        default=units.parse_duration("30 s"), name="connect_timeout"
    )
    idle_timeout_s: Annotated[
        Seconds, says("How long nothing may arrive before an exchange is given up.")
    ] = field(default=units.parse_duration("180 s"), name="idle_timeout")
    min_bytes_per_s: Annotated[
        Annotated[float, Meta(ge=0, le=1e12)],
        says("A body that arrives slower than this over a whole min_rate_window is given up. 0: never."),
    ] = 1024.0
    min_rate_window_s: Annotated[Seconds, says("The span over which the lowest throughput is measured.")] = (
        field(default=units.parse_duration("2 min"), name="min_rate_window")
    )
    ca_bundle: Annotated[
        FilePath | None, says("A PEM file of certificate authorities, instead of the system's.")
    ] = None
    proxy: Annotated[ProxyUrl | None, says("An HTTP proxy. One that wants a password is not supported.")] = (
        None
    )
    take_over: Annotated[
        bool,
        says("Let big bodies flow from the socket straight to the disk writer; false is slower and plainer."),
    ] = True

    @property
    def agent(self) -> str:
        """The User-Agent header to send."""
        own = f"filingd/{__version__}" + (f" (+{self.contact})" if self.contact else "")
        return self.user_agent or own


class RunSettings(Section, frozen=True):
    """The daemon's own rhythm."""

    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=64)], says("Most exchanges at once, over all lanes together.")
    ] = 2
    grace_period_s: Annotated[
        SecondsOrNone, says("How long running transfers may take to end when the daemon is told to stop.")
    ] = field(default=units.parse_duration("30 s"), name="grace_period")
    plan_interval_s: Annotated[
        Seconds,
        says("How often the plan is made anew; a new day is expected from the first plan after midnight on."),
    ] = field(default=units.parse_duration("15 min"), name="plan_interval")
    max_attempts: Annotated[
        Count, says("Failures in a row after which an item is left alone for a while.")
    ] = 8
    retry_base_s: Annotated[Seconds, says("About the wait after a first failure; it doubles with each.")] = (
        field(default=units.parse_duration("2 s"), name="retry_base")
    )
    retry_cap_s: Annotated[Seconds, says("The longest wait between two tries.")] = field(
        default=units.parse_duration("15 min"), name="retry_cap"
    )
    give_up_pause_s: Annotated[Seconds, says("How long an item that used up its tries is left alone.")] = (
        field(default=units.parse_duration("24 h"), name="give_up_pause")
    )
    room_check_interval_s: Annotated[Seconds, says("How often the free room on the disk is looked at.")] = (
        field(default=units.parse_duration("30 s"), name="room_check_interval")
    )

    max_clock_skew_s: Annotated[
        Seconds, says("How far this machine's clock may be from a registry's before it raises an alarm.")
    ] = field(default=units.parse_duration("2 min"), name="max_clock_skew")
    alarm_repeat_s: Annotated[
        Seconds, says("After how long an alarm that still stands is written to the log again.")
    ] = field(default=units.parse_duration("24 h"), name="alarm_repeat")

    def problems(self) -> Iterator[Problem]:
        """Rules between the fields."""
        if self.retry_base_s > self.retry_cap_s:
            yield Problem(
                "retry_base",
                "it is longer than retry_cap; make it shorter",
                written(self.retry_base_s, "duration"),
            )


class TransferSettings(Section, frozen=True):
    """Bounds on what may arrive, so that neither an error nor an attack fills the disk."""

    max_body_bytes: Annotated[ByteCount, says("The largest body that is accepted.")] = field(
        default=units.parse_size("20 GiB"), name="max_body"
    )
    max_zip_entries: Annotated[Count, says("The most members a zip may have.")] = 200_000
    max_zip_member_bytes: Annotated[ByteCount, says("The largest a member of a zip may inflate to.")] = field(
        default=units.parse_size("512 MiB"), name="max_zip_member"
    )
    max_zip_ratio: Annotated[
        Annotated[float, Meta(ge=1, le=10_000)],
        says("How many times its own size a zip may inflate to (a guard against zip bombs)."),
    ] = 200.0
    zip_ratio_floor_bytes: Annotated[
        ByteCount, says("A zip that inflates to less than this is never refused for its ratio.")
    ] = field(default=units.parse_size("64 MiB"), name="zip_ratio_floor")


class HookSettings(Section, frozen=True):
    """Commands that are run for what happens in the mirror, one at a time and in order, each with the event as JSON on
    its standard input. One that fails, or takes too long, is run again for the same event until it succeeds."""

    on_stored: Annotated[
        tuple[str, ...],
        says("For each body that was stored or replaced. The command and its arguments; [] for none."),
    ] = ()
    on_sealed: Annotated[
        tuple[str, ...], says("For each day that was sealed. The command and its arguments; [] for none.")
    ] = ()
    timeout_s: Annotated[
        Seconds, says("How long a command may take before it is ended and counts as failed.")
    ] = field(default=units.parse_duration("60 s"), name="timeout")

    @property
    def by_name(self) -> dict[str, tuple[str, ...]]:
        """The commands that there are."""
        commands = {"on_stored": self.on_stored, "on_sealed": self.on_sealed}
        return {name: command for name, command in commands.items() if command}

    def problems(self) -> Iterator[Problem]:
        """Rules between the fields."""
        for name, command in self.by_name.items():
            if not command[0].startswith("/"):
                remedy = "the command is no absolute path; write one, such as /usr/local/bin/on-sealed"
                yield Problem(name, remedy, written(list(command)))
            elif any("\0" in word for word in command):
                yield Problem(name, "a word of the command holds a NUL; remove it", written(list(command)))


class ProductSettings(Section, frozen=True):
    """One subscription: its keys and its pace."""

    keys: Annotated[
        tuple[KeyReference, ...],
        Meta(
            min_length=1,
            description='Where its keys are: "credential:NAME", "env:NAME" or "file:PATH", never the key. '
            "The first is used; the next when the registry refuses it.",
        ),
    ]
    calls_per_second: Annotated[
        Annotated[float, Meta(gt=0, le=1000)],
        says("The most calls in any second. Below 1, such as 0.2, it is one call in 1/0.2 = 5 seconds."),
    ] = 1.0
    burst: Annotated[
        Annotated[int, Meta(ge=1, le=1000)], says("How many calls may come at once after a pause.")
    ] = 1
    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=64)], says("Most exchanges at once with this product.")
    ] = 1

    def problems(self) -> Iterator[Problem]:
        """Rules between the fields."""
        if len(set(self.keys)) < len(self.keys):
            yield Problem("keys", "the same key stands there twice; remove one")


class NbbProducts(Section, frozen=True):
    """The subscriptions at NBB CBSO; each has keys of its own."""

    extract: Annotated[
        ProductSettings | None, says("The daily extract: publication days of about the last 30 days.")
    ] = None
    authentic_archive: Annotated[
        ProductSettings | None,
        says("The authentic archive: publication days from about 30 days to 3 years ago."),
    ] = field(default=None, name="authentic-archive")
    improved: Annotated[
        ProductSettings | None,
        says(
            "Improved data (paid): what the bank read out of PDFs, converted or corrected in about the last 30 days."
        ),
    ] = None
    improved_archive: Annotated[
        ProductSettings | None,
        says("The improved archive: the same from about 30 days to 3 years ago."),
    ] = field(default=None, name="improved-archive")
    authentic_query: Annotated[
        ProductSettings | None,
        says(
            "The authentic query: companies of watchlists, and single documents for what the zip of a day lacks."
        ),
    ] = field(default=None, name="authentic-query")

    @property
    def by_name(self) -> dict[str, ProductSettings]:
        """Those that are subscribed, in the order of `PRODUCTS`."""
        found = (
            self.extract,
            self.authentic_archive,
            self.improved,
            self.improved_archive,
            self.authentic_query,
        )
        return {name: product for name, product in zip(PRODUCTS, found, strict=True) if product is not None}


class OperationSettings(Section, frozen=True):
    """Another path or media type for one operation, should the bank change it before filingd does."""

    path: Annotated[PathTemplate | None, says("The path below base_url, with {date} in it.")] = None
    accept: Annotated[MediaType | None, says("The media type asked for.")] = None


class DatasetPaths(Section, frozen=True):
    """The operations of one product."""

    references: OperationSettings | None = None
    json: OperationSettings | None = None
    xbrl: OperationSettings | None = None
    pdf: OperationSettings | None = None


class QuerySettings(Section, frozen=True):
    """Another path or media type for one kind of document."""

    path: Annotated[DocumentPath | None, says("The path below base_url, with {ref} in it.")] = None
    accept: Annotated[MediaType | None, says("The media type asked for.")] = None


class CompanySettings(Section, frozen=True):
    """Another path or media type for what is known of a company."""

    path: Annotated[CompanyPath | None, says("The path below base_url, with {cbe} in it.")] = None
    accept: Annotated[MediaType | None, says("The media type asked for.")] = None


class ImprovedDocumentSettings(Section, frozen=True):
    """Another path or media type for one improved document."""

    path: Annotated[ImprovedPath | None, says("The path below base_url, with {ref} and {kind} in it.")] = None
    accept: Annotated[MediaType | None, says("The media type asked for.")] = None


class DocumentPaths(Section, frozen=True):
    """The operations of the product that serves single documents and records, and the filings of a company."""

    json: QuerySettings | None = None
    xbrl: QuerySettings | None = None
    pdf: QuerySettings | None = None
    record: QuerySettings | None = None
    enterprise: CompanySettings | None = None


class ImprovedArchivePaths(Section, frozen=True):
    """The operations of the archive of improved data."""

    references: OperationSettings | None = None
    json: OperationSettings | None = None


class ImprovedPaths(Section, frozen=True):
    """The operations of improved data."""

    references: OperationSettings | None = None
    json: OperationSettings | None = None
    document: ImprovedDocumentSettings | None = None
    enterprise: CompanySettings | None = None


class NbbPaths(Section, frozen=True):
    """Paths and media types that differ from the built-in table."""

    extract: DatasetPaths | None = None
    authentic_archive: DatasetPaths | None = field(default=None, name="authentic-archive")
    improved: ImprovedPaths | None = None
    improved_archive: ImprovedArchivePaths | None = field(default=None, name="improved-archive")
    authentic_query: DocumentPaths | None = field(default=None, name="authentic-query")

    @property
    def by_product(
        self,
    ) -> dict[str, DatasetPaths | ImprovedPaths | ImprovedArchivePaths | DocumentPaths | None]:
        """By product, in the order of `PRODUCTS`."""
        found = (
            self.extract,
            self.authentic_archive,
            self.improved,
            self.improved_archive,
            self.authentic_query,
        )
        return dict(zip(PRODUCTS, found, strict=True))


class WatchSettings(Section, frozen=True):
    """The terms of one watchlist; its section is named after its file, without `.csv`."""

    refresh_interval_s: Annotated[
        Seconds, says("How long until the registry is asked again what it knows of a company.")
    ] = field(default=units.parse_duration("30 d"), name="refresh_interval")
    documents: Annotated[
        tuple[DocumentKind, ...],
        says("Which documents of its filings are wanted. Empty: none, only the list of its filings."),
    ] = ("json", "pdf")
    latest: Annotated[
        Annotated[int, Meta(ge=0, le=1000)],
        says("Of how many exercises, the newest first, documents are wanted. 0: of all."),
    ] = 0
    improved: Annotated[
        bool,
        says("Whether improved data of its filings are wanted, too; takes a subscription to improved data."),
    ] = False

    @property
    def terms(self) -> NbbTerms:
        """The same as one value."""
        return NbbTerms(self.refresh_interval_s, frozenset(self.documents), self.latest, self.improved)


class NbbSettings(Section, frozen=True, kw_only=True):
    """What is wanted from the National Bank of Belgium, and what is known of its habits.

    Ages are in calendar days in `timezone`; a day published yesterday has age 1.
    """

    base_url: Annotated[BaseUrl, says("Where the service is. https only, except to this very machine.")] = (
        "https://ws.cbso.nbb.be"
    )
    since: Annotated[Day, says("The first publication day wanted. The archive reaches about 3 years back.")]
    authentic: Annotated[
        tuple[Dataset, ...],
        Meta(
            min_length=1,
            description="Which datasets of each day are wanted. `references` is needed to seal a day.",
        ),
    ] = ("references", "json", "xbrl", "pdf")
    improved: Annotated[
        tuple[ImprovedDataset, ...],
        says("The same for improved data, if a product for it is subscribed. Empty: none of it is wanted."),
    ] = ("references", "json")
    products: Annotated[NbbProducts, says("The subscriptions.")] = field(default_factory=NbbProducts)
    request_id: Annotated[
        bool, says("Send a fresh X-Request-Id with each call; it is what you quote to the bank's support.")
    ] = True
    timezone: Annotated[Zone, says("The calendar of publication days.")] = "Europe/Brussels"
    settles_at: Annotated[
        TimeOfDay, says("When yesterday is complete at the bank; before it, nothing there means not yet.")
    ] = dt.time(5, 0)
    first_try_from: Annotated[
        TimeOfDay, says("A new day is first asked for at a moment between this hour of the next day…")
    ] = dt.time(5, 30)
    first_try_until: Annotated[
        TimeOfDay, says("…and this one; each installation has its own, so that not all ask at once.")
    ] = dt.time(6, 30)
    extract_max_age_days: Annotated[AgeDays, says("The oldest day the extract is said to serve.")] = 30
    extract_last_try_age_days: Annotated[
        AgeDays,
        says("Up to this age the extract is still tried before the archive; the exact edge is not known."),
    ] = 33
    edge_give_up_age_days: Annotated[
        AgeDays, says("Up to this age a day that neither product has stays open and is asked for again.")
    ] = 35
    archive_min_age_days: Annotated[AgeDays, says("The youngest day the archive is said to serve.")] = 28
    archive_max_age_days: Annotated[AgeDays, says("The oldest day the archive is said to serve.")] = 1096
    edge_slack_days: Annotated[
        Annotated[int, Meta(ge=0, le=60)],
        says("How many days past the archive's far edge are still asked for."),
    ] = 4
    empty_confirmations: Annotated[
        Count, says("How often the registry must say that a settled day has nothing before it is believed.")
    ] = 2
    empty_interval_s: Annotated[Seconds, says("The least time between two such answers.")] = field(
        default=units.parse_duration("6 h"), name="empty_interval"
    )
    not_yet_interval_s: Annotated[Seconds, says("The first wait for a day that is late.")] = field(
        default=units.parse_duration("1 h"), name="not_yet_interval"
    )
    ask_again_cap_s: Annotated[
        Seconds,
        says("The longest wait between two questions for a day that stays away; waits double up to it."),
    ] = field(default=units.parse_duration("24 h"), name="ask_again_cap")
    unavailable_interval_s: Annotated[
        Seconds,
        says("How long a document that the bank does not serve is left alone before it is asked for again."),
    ] = field(default=units.parse_duration("90 d"), name="unavailable_interval")
    recheck_ages_days: Annotated[
        tuple[AgeDays, ...],
        says("At which ages a stored day is fetched again and compared; the last before its window closes."),
    ] = (2, 27)
    mismatch_retry_s: Annotated[
        tuple[Seconds, ...],
        says("After which waits a day is fetched again whose documents do not agree with its references."),
    ] = field(
        default=tuple(map(units.parse_duration, ("1 h", "6 h", "24 h"))),
        name="mismatch_retry",
    )
    known_empty_days: Annotated[
        tuple[Day, ...],
        says("Working days that are known to have nothing, such as bridge days: no alarm for these."),
    ] = ()
    expect_filings_on_working_days: Annotated[
        bool,
        says("Whether a working day without any filing raises an alarm instead of being taken as empty."),
    ] = True
    min_json_share: Annotated[
        Annotated[float, Meta(ge=0, le=1)],
        says("Below this share of filings with JSON a day raises an alarm. 0 switches it off."),
    ] = 0.85
    watchlists: Annotated[
        FilePath,
        says(
            "Folder of the watchlists: CSV files, one enterprise number a line. A relative path starts at the folder of "
            "this file; there need not be one."
        ),
    ] = field(default_factory=partial(Path, "watchlists"))
    watch: Annotated[
        dict[str, WatchSettings],
        says("The terms of each watchlist; one without a section has the defaults."),
    ] = field(default_factory=NamedSections)
    publication_lag_days: Annotated[
        Annotated[int, Meta(ge=0, le=1000)],
        says(
            "Within how many days of its deposit a filing is published, as a rule. Until these days are mirrored, its "
            "documents are not asked for one by one."
        ),
    ] = 10
    max_json_share: Annotated[
        Annotated[float, Meta(ge=0, le=10)],
        says("Above this share of JSON documents to filings a day raises an alarm."),
    ] = 1.0
    alarm_open_after_s: Annotated[
        Seconds, says("How long a day may stay open before it raises an alarm.")
    ] = field(default=units.parse_duration("2 d"), name="alarm_open_after")
    alarm_uncommitted_age_days: Annotated[
        AgeDays,
        says(
            "Above this age a day that could have been had in time raises an alarm while it is not complete."
        ),
    ] = 25
    alarm_look_back_days: Annotated[
        Annotated[int, Meta(ge=1, le=365)],
        says("Up to this age what a day holds raises alarms: shares, casing, fields, models, labels."),
    ] = 14
    known_fields: Annotated[
        tuple[str, ...], says("Fields of references that you have looked at: no alarm for these.")
    ] = ()
    known_models: Annotated[
        tuple[str, ...], says('Models that you have looked at, such as "m87": no alarm for these.')
    ] = ()
    paths: Annotated[NbbPaths, says("Other paths and media types, per product and dataset.")] = field(
        default_factory=NbbPaths
    )

    @property
    def observer(self) -> Observer:
        """How days are looked at for alarms."""
        from filingd.registries.nbb.observing import Observer  # here: few commands ask

        return Observer(
            zoneinfo.ZoneInfo(self.timezone),
            self.settles_at,
            self.empty_confirmations,
            self.empty_interval_s,
            self.alarm_look_back_days,
            frozenset(self.known_fields),
            frozenset(self.known_models),
        )

    @property
    def knows_companies(self) -> bool:
        """Whether anything can be asked about the companies of watchlists."""
        return self.products.authentic_query is not None or self.products.improved is not None

    @property
    def families(self) -> dict[Family, tuple[str, ...]]:
        """The families of days that are wanted and have a subscription, with the datasets that are wanted of each."""
        datasets = {AUTHENTIC: self.authentic, IMPROVED_DATA: self.improved}
        subscribed = self.products.by_name.keys()
        return {
            family: tuple(wanted)
            for family, wanted in datasets.items()
            if wanted and not subscribed.isdisjoint(family.products)
        }

    def problems(self) -> Iterator[Problem]:
        """Rules between the fields."""
        yield from self._dataset_problems()
        yield from self._window_problems()
        yield from self._hour_problems()
        if self.products == NbbProducts():
            yield Problem(
                "products",
                "no subscription is configured; write [nbb.products.extract] with `keys`, or remove [nbb]",
            )
        elif not self.families and not self.knows_companies:
            yield Problem(
                "products",
                "neither a day nor a company can be had by these subscriptions; add [nbb.products.extract]",
                written(tuple(self.products.by_name)),
            )

    def _dataset_problems(self) -> Iterator[Problem]:
        for name in ("authentic", "improved"):
            datasets = getattr(self, name)
            if datasets and "references" not in datasets:
                problem = 'no day can be checked without its references; add "references"'
                yield Problem(name, problem, written(datasets))
            if len(set(datasets)) < len(datasets):
                yield Problem(name, "a dataset stands there twice; remove one", written(datasets))

    def _hour_problems(self) -> Iterator[Problem]:
        for early, late in itertools.pairwise(("settles_at", "first_try_from", "first_try_until")):
            if getattr(self, early) > getattr(self, late):
                problem = f"it is before {early} ({written(getattr(self, early))}); make it that or later"
                yield Problem(late, problem, written(getattr(self, late)))

    def _window_problems(self) -> Iterator[Problem]:
        ages = (
            "extract_max_age_days",
            "extract_last_try_age_days",
            "edge_give_up_age_days",
            "archive_max_age_days",
        )
        for low, high in itertools.pairwise(ages):
            if getattr(self, low) > getattr(self, high):
                yield Problem(low, f"it is above {high}; make it at most that", written(getattr(self, low)))
        if self.archive_min_age_days > self.extract_last_try_age_days + 1:
            yield Problem(
                "archive_min_age_days",
                "days between extract_last_try_age_days and it could be had nowhere; make it smaller",
                written(self.archive_min_age_days),
            )


class Settings(Section, frozen=True):
    """The whole configuration."""

    store: Annotated[StoreSettings, says("Where the copy lives.")] = field(default_factory=StoreSettings)
    log: Annotated[LogSettings, says("The status log.")] = field(default_factory=LogSettings)
    http: Annotated[HttpSettings, says("How filingd talks to a registry.")] = field(
        default_factory=HttpSettings
    )
    run: Annotated[RunSettings, says("The daemon's own rhythm.")] = field(default_factory=RunSettings)
    transfer: Annotated[TransferSettings, says("Bounds on what may arrive.")] = field(
        default_factory=TransferSettings
    )
    hooks: Annotated[HookSettings, says("Commands that are run for what happens.")] = field(
        default_factory=HookSettings
    )
    nbb: Annotated[NbbSettings | None, says("The mirror of NBB CBSO (Belgium).")] = None
    kvk: Annotated[KvkSettings | None, says("The mirror of KVK (the Netherlands).")] = None

    @property
    def watchlists(self) -> dict[str, WatchlistPlace]:
        """Where the watchlists of each registry are, by its name, and their terms."""
        places = {}
        if self.nbb is not None:
            terms = {name: section.terms for name, section in self.nbb.watch.items()}
            places["nbb"] = WatchlistPlace(self.nbb.watchlists, terms, WatchSettings().terms)
        if self.kvk is not None:
            own = {name: self.kvk.terms_of(section) for name, section in self.kvk.watch.items()}
            places["kvk"] = WatchlistPlace(self.kvk.watchlists, own, self.kvk.terms_of(KvkWatchSettings()))
        return places

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies."""
        return self.store.path / MANIFEST_NAME

    @property
    def log_file(self) -> Path | None:
        """Where the status log goes; None is standard output."""
        if self.log.path is None:
            return self.store.path / "log" / "filingd.jsonl"
        return None if str(self.log.path) == "-" else self.log.path

    @property
    def key_references(self) -> dict[str, tuple[str, ...]]:
        """Where the keys are, by what they open, such as `nbb/extract` or `kvk/main`."""
        kvk = self.kvk.keys if self.kvk is not None else {}
        return {
            **{f"nbb/{name}": product.keys for name, product in self.subscriptions.items()},
            **{f"kvk/{name}": (each.key,) for name, each in kvk.items()},
        }

    @property
    def subscriptions(self) -> dict[str, ProductSettings]:
        """What is subscribed at NBB CBSO, by product (see `PRODUCTS`)."""
        return self.nbb.products.by_name if self.nbb is not None else {}

    @property
    def alarm_bounds(self) -> Bounds:
        """From when on something is an alarm."""
        from filingd.core.alarms import Bounds  # here: few commands ask

        if self.nbb is None:
            return Bounds(max_clock_skew_s=self.run.max_clock_skew_s)
        return Bounds(
            self.nbb.alarm_open_after_s,
            self.nbb.alarm_uncommitted_age_days,
            self.nbb.alarm_look_back_days,
            self.nbb.min_json_share,
            self.nbb.max_json_share,
            self.run.max_clock_skew_s,
        )

    def overridden(
        self,
        *,
        store_path: Path | None = None,
        nbb_base_url: str | None = None,
        kvk_base_url: str | None = None,
    ) -> Settings:
        """The same settings for another store or another host (the demo, a rehearsal)."""
        changed = self
        if store_path is not None:
            store = msgspec.structs.replace(changed.store, path=store_path)
            changed = msgspec.structs.replace(changed, store=store)
        if nbb_base_url is not None and changed.nbb is not None:
            nbb = msgspec.structs.replace(changed.nbb, base_url=nbb_base_url.rstrip("/"))
            changed = msgspec.structs.replace(changed, nbb=nbb)
        if kvk_base_url is not None and changed.kvk is not None:
            kvk = msgspec.structs.replace(changed.kvk, base_url=kvk_base_url.rstrip("/"))
            changed = msgspec.structs.replace(changed, kvk=kvk)
        return changed


# ------------------------------------------------------------------------------------------ loading

NOT_SERVED: dict[str, str] = {}  # sections that a later version will serve, each with a sentence about it
_LARGEST_FILE_BYTES = 1024 * 1024


def load(path: Path) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or holds anything that is unknown or wrong; all problems
            at once, each with its key, its value (never a key's) and a remedy.
    """
    return parse(_read(path), path)


def parse(text: str, path: Path) -> Settings:
    """As `load`, from the text of the file. `path` is named in problems; it is where relative paths start."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(_syntax_problem(path, text, str(error))) from None
    reader = Reader(path.absolute().parent, Settings, NOT_SERVED)
    settings = reader.struct(table, Settings)
    if settings is None:
        raise ConfigError(_report(path, reader.problems))
    return settings


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
        if len(data) > _LARGEST_FILE_BYTES:
            raise ConfigError(f"{path} is larger than 1 MiB; this cannot be a configuration of filingd.")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Write a first one with `filingd config init --path {path}`, "
            "or name another with --config."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}. Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Check its permissions and its folder's."
        ) from None


def _syntax_problem(path: Path, text: str, said: str) -> str:
    """The position is always given, also when the file ends too early."""
    found = re.search(r"\(at line (\d+), column (\d+)\)", said)
    line, column = (int(found[1]), int(found[2])) if found else (text.count("\n") + 1, 1)
    what = redact_text(re.sub(r"\s*\(at .*\)$", "", said))
    return f"{path}, line {line}, column {column}: this is not TOML: {what}. Correct that line."


def _report(path: Path, problems: list[Problem]) -> str:
    lines = [
        f"{problem.key}{f' = {problem.shown}' if problem.shown else ''}: {problem.text}."
        for problem in problems
    ]
    lines = [line.replace("?.", "?") for line in lines]
    if len(lines) == 1:
        return f"{path}: {lines[0]}"
    return f"{path} has {len(lines)} problems:\n" + "\n".join(f"  {line}" for line in lines)


# ------------------------------------------------------------------------------------------ schema


def schema() -> dict[str, Any]:
    """JSON Schema of the configuration file, with meanings, and defaults as the file writes them."""
    (root,), parts = msgspec.json.schema_components(
        [Settings], schema_hook=lambda _: {"type": "string"}, ref_template="#/$defs/{name}"
    )
    for model in _models(Settings):
        for option in msgspec.structs.fields(model):
            entry = parts[model.__name__]["properties"][option.encode_name]
            _as_written(entry, option)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "filingd configuration",
        **root,
        "$defs": parts,
    }


def _models(model: type[Struct]) -> Iterator[type[Struct]]:
    yield model
    for option in msgspec.structs.fields(model):
        inner = section_of(option.type)
        if inner is not None:
            yield from _models(inner)


def _as_written(entry: dict[str, Any], option: Any) -> None:
    """Show an option's type, bounds and default as in the file (`"30 s"`), not as in the program (30.0)."""
    base, metas = unwrap(option.type)
    inner, inner_metas = (
        unwrap(base.__args__[0]) if getattr(base, "__origin__", None) is tuple else (base, metas)
    )
    for part in (entry, entry.get("items", {}), *entry.get("anyOf", [])):
        if kind_of(inner_metas) in {"duration", "size"}:
            part.pop("minimum", None)
            part.pop("exclusiveMinimum", None)
            part.update({"type": "string"} if "pattern" in part else {})
        if part.get("format", "") is None:
            del part["format"]
    default = option.default
    if default is msgspec.NODEFAULT and inner is Path and not option.required:
        default = option.default_factory()
    if default not in (msgspec.NODEFAULT, None):
        entry["default"] = tomllib.loads(f"value = {written(default, kind_of(inner_metas))}")["value"]
