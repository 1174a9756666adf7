"""The section [kvk]: what is wanted from the Dutch Trade Register, who pays for it, and what is known of its habits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, field

from filingd.core import units
from filingd.registries.kvk.terms import KvkTerms
from filingd.settings_kinds import (
    BaseUrl,
    Count,
    FilePath,
    KeyReference,
    NumberPath,
    SearchPath,
    Seconds,
    Section,
    Zone,
    says,
)
from filingd.settings_reader import NamedSections, Problem, written

if TYPE_CHECKING:
    from collections.abc import Iterator

Part = Literal["basisprofiel", "eigenaar", "hoofdvestiging", "vestigingen", "vestigingsprofiel", "naamgeving"]


class KvkKeySettings(Section, frozen=True, kw_only=True):
    """One key, and what may be spent with it in a calendar month."""

    key: Annotated[
        KeyReference,
        says(
            'Where the key is: "credential:NAME", "env:NAME" or "file:PATH", never the key itself. "public:kvk-test" is the key '
            "that KVK prints for everybody; it opens the test environment alone."
        ),
    ]
    budget_per_month_eur: Annotated[
        Annotated[float, Meta(ge=0, le=1e6)],
        says(
            "The most that may be spent in a calendar month. At the end of it, paid calls wait for the next month."
        ),
    ]
    price_per_call_eur: Annotated[
        Annotated[float, Meta(ge=0, le=1000)],
        says(
            "What a call costs, without VAT. Searches (zoeken) are free; every other call is taken to be paid."
        ),
    ] = 0.02
    calls_per_month: Annotated[
        Count, says("The most calls in a calendar month, those that cost nothing included.")
    ] = 300_000
    spread: Annotated[
        bool,
        says(
            "Space paid calls so that what is left lasts until the month ends, instead of spending it early."
        ),
    ] = False


class KvkRefreshSettings(Section, frozen=True):
    """How often single parts are asked for again, where that differs from `refresh_interval`."""

    basisprofiel: Annotated[Seconds | None, says("The company, its owner and its main branch.")] = None
    eigenaar: Annotated[Seconds | None, says("Its owner.")] = None
    hoofdvestiging: Annotated[Seconds | None, says("Its main branch.")] = None
    vestigingen: Annotated[Seconds | None, says("The list of its branches.")] = None
    vestigingsprofiel: Annotated[Seconds | None, says("A branch.")] = None
    naamgeving: Annotated[Seconds | None, says("Its names.")] = None

    @property
    def by_part(self) -> dict[str, float]:
        """Those that are given, in seconds."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


class KvkWatchSettings(Section, frozen=True):
    """The terms of one list or saved search; its section is named after its file, without `.csv` or `.toml`."""

    account: Annotated[
        str | None,
        says("Which of [kvk.keys] pays for it; the first of them if it is not said."),
    ] = None
    parts: Annotated[
        tuple[Part, ...],
        says(
            "What is fetched of each number, one paid call each. `vestigingsprofiel` is of branches: of the branch numbers in "
            "the list, and, together with `vestigingen`, of each branch that this names. Empty: nothing but what is searched."
        ),
    ] = ("basisprofiel",)
    refresh_interval_s: Annotated[Seconds, says("How long until it is fetched again.")] = field(
        default=units.parse_duration("30 d"), name="refresh_interval"
    )
    refresh: Annotated[KvkRefreshSettings, says("The same for single parts, where it differs.")] = field(
        default_factory=KvkRefreshSettings
    )
    geo_data: Annotated[
        bool, says("Ask for the coordinates of Dutch addresses, too. It costs nothing more.")
    ] = False

    def problems(self) -> Iterator[Problem]:
        """Rules between the fields."""
        if len(set(self.parts)) < len(self.parts):
            yield Problem("parts", "a part stands there twice; remove one", written(self.parts))
        for part in self.refresh.by_part:
            if part not in self.parts:
                yield Problem(
                    f"refresh.{part}", "that part is not fetched; add it to `parts`, or remove this line"
                )


class KvkPaths(Section, frozen=True):
    """Paths below base_url that differ from the built-in ones."""

    zoeken: Annotated[SearchPath | None, says("The search.")] = None
    basisprofiel: Annotated[NumberPath | None, says("The company, with {number} in it.")] = None
    eigenaar: Annotated[NumberPath | None, says("Its owner, with {number} in it.")] = None
    hoofdvestiging: Annotated[NumberPath | None, says("Its main branch, with {number} in it.")] = None
    vestigingen: Annotated[NumberPath | None, says("The list of its branches, with {number} in it.")] = None
    vestigingsprofiel: Annotated[NumberPath | None, says("A branch, with {number} in it.")] = None
    naamgeving: Annotated[NumberPath | None, says("Its names, with {number} in it.")] = None

    @property
    def by_part(self) -> dict[str, str]:
        """Those that are given."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


class KvkSettings(Section, frozen=True, kw_only=True):
    """What is wanted from KVK, the Dutch Chamber of Commerce."""

    base_url: Annotated[BaseUrl, says("Where the service is. https only, except to this very machine.")] = (
        "https://api.kvk.nl/api"
    )
    keys: Annotated[
        dict[str, KvkKeySettings],
        says("The keys, each in a section of its own with what may be spent with it."),
    ] = field(default_factory=NamedSections)
    calls_per_second: Annotated[
        Annotated[float, Meta(gt=0, le=100)],
        says(
            "The most calls in any second over all keys. The registry allows 100, and its month lasts 50 minutes then."
        ),
    ] = 10.0
    burst: Annotated[
        Annotated[int, Meta(ge=1, le=100)], says("How many calls may come at once after a pause.")
    ] = 1
    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        says("Most exchanges at once with this registry, over all keys: about calls_per_second x 0.5 s x 2."),
    ] = 8
    timezone: Annotated[Zone, says("The calendar of the months in which calls and money are counted.")] = (
        "Europe/Amsterdam"
    )
    watchlists: Annotated[
        FilePath,
        says(
            "Folder of the watchlists: NAME.csv has a number a line (8 digits: a company, 9: an RSIN, 12: a branch), NAME.toml "
            "is a saved search. A relative path starts at the folder of this file; there need not be one."
        ),
    ] = field(default_factory=partial(Path, "kvk-watchlists"))
    watch: Annotated[
        dict[str, KvkWatchSettings],
        says("The terms of each list and saved search; one without a section has the defaults."),
    ] = field(default_factory=NamedSections)
    not_processed_interval_s: Annotated[
        Seconds, says("How long a number is left alone that the registry is still processing (IPD1002).")
    ] = field(default=units.parse_duration("24 h"), name="not_processed_interval")
    unavailable_interval_s: Annotated[
        Seconds, says("How long a number is left alone that is unavailable for a moment (IPD1003).")
    ] = field(default=units.parse_duration("10 min"), name="unavailable_interval")
    tombstone_interval_s: Annotated[
        Seconds, says("How long until a number is asked for again of which the registry has nothing.")
    ] = field(default=units.parse_duration("30 d"), name="tombstone_interval")
    unknown_code_interval_s: Annotated[
        Seconds, says("How long a number is left alone whose answer carries a code that nobody knows.")
    ] = field(default=units.parse_duration("24 h"), name="unknown_code_interval")
    unknown_code_tries: Annotated[Count, says("After how many such answers it is given up for a while.")] = 3
    most_not_found_in_a_row: Annotated[
        Count,
        says(
            "So many refusals in a row (404 or 400) mean that the service has moved or is out of order, not that all are gone."
        ),
    ] = 50
    keep_versions_of_shielded: Annotated[
        bool,
        says(
            "Keep older versions of a record whose address the registry shields now. By default they are removed, because they "
            "may hold the address."
        ),
    ] = False
    paths: Annotated[KvkPaths, says("Other paths, should the registry change them before filingd does.")] = (
        field(default_factory=KvkPaths)
    )

    def problems(self) -> Iterator[Problem]:
        """Rules between the fields."""
        if not self.keys:
            yield Problem(
                "keys", "no key is configured; write [kvk.keys.main] with `key` and `budget_per_month_eur`"
            )
            return
        names = ", ".join(f'"{name}"' for name in self.keys)
        for name, terms in self.watch.items():
            if terms.account is not None and terms.account not in self.keys:
                yield Problem(
                    f"watch.{name}.account",
                    f"there is no such key; write one of {names}",
                    written(terms.account),
                )
        references = [each.key for each in self.keys.values()]
        if len(set(references)) < len(references):
            yield Problem(
                "keys", "two of them are the same key, whose money would be counted twice; remove one"
            )

    def terms_of(self, terms: KvkWatchSettings) -> KvkTerms:
        """The terms of a list as one value. Where it does not say who pays, the first of the keys does."""
        account = terms.account or next(iter(self.keys))
        return KvkTerms.of(
            terms.parts, terms.refresh_interval_s, account, terms.refresh.by_part, geo_data=terms.geo_data
        )
