"""The knobs of the KVK half of the sandbox.

Where the reference says UNKNOWN, the knob rehearses each possibility and the default is the one with most evidence (KVK
reference, sections 5, 15.2 and 17).
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from filingd.core.errors import ConfigError

Base = Literal["api", "test"]
KvkProduct = Literal["zoeken", "basisprofiel", "vestigingsprofiel", "naamgeving"]
# Link shape and order of fields as recorded at that time (section 18.1, 18.2).
Release = Literal["2025-08", "2025-12", "2026-02", "2026-08"]
KVK_PRODUCTS: tuple[KvkProduct, ...] = ("zoeken", "basisprofiel", "vestigingsprofiel", "naamgeving")
PUBLIC_TEST_KEY = (
    "l7xx1f2691f2520d487b902f4e0b57a0b197"  # printed by KVK for its test environment (section 3)
)
MOST_COMPANIES = 1_000_000
_CODE = re.compile(r"IPD\d{4}")


class KvkKey(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A key, the products of its contract and the bases that accept it."""

    key: str
    products: tuple[KvkProduct, ...] = KVK_PRODUCTS
    bases: tuple[Base, ...] = ("api", "test")


def _default_keys() -> dict[str, KvkKey]:
    return {
        "main": KvkKey(key="l7xx" + "1" * 32),
        "second": KvkKey(key="l7xx" + "2" * 32),
        "public-test": KvkKey(key=PUBLIC_TEST_KEY, bases=("test",)),
    }


class KvkSandboxSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Knobs of KVK, in the sandbox's settings under `kvk`. All may change while it runs."""

    # What the register holds on /api; /test/api holds KVK's own fictitious companies
    companies: int = 5_000  # seeded ones, from 98000000 on
    crowd_companies: int = (
        1_200  # the last of them: one name, one house, one type, so that no search tells them apart
    )
    inactive_share: float = 0.03
    foreign_share: float = 0.005  # legal persons with an address abroad only
    shielded_share: float = 0.02
    non_mailing_share: float = 0.2
    erroneous_numbers: dict[str, str] = msgspec.field(
        default_factory=lambda: {"90004973": "IPD9999", "90002903": "IPD1002"}
    )  # on /test/api; which codes KVK's "Foutmelding" companies really give is unknown

    # Keys and limits
    keys: dict[str, KvkKey] = msgspec.field(default_factory=_default_keys)
    calls_per_s: int = 100  # in any second of real time; 0: without limit. Refused calls do not count
    rate_scope: Literal["key", "all"] = "all"
    calls_per_month: int = 300_000  # calendar month in Amsterdam by the sandbox's clock; 0: without limit
    quota_scope: Literal["key", "all"] = "key"
    quota_counts: Literal["all", "paid"] = "all"
    over_limit_status: Literal[429, 503] = 503
    over_limit_retry_after: Literal["none", "seconds", "date"] = "none"

    # What nobody has measured
    unauthorized_body: Literal["empty", "fout", "html"] = "empty"
    deregistered_profile: Literal["404", "200"] = "404"
    no_branches: Literal["404", "empty-list"] = "404"  # of /vestigingen
    no_criteria: Literal["400", "404"] = "400"
    failing_rsin: Literal["404", "400"] = "404"  # one that fails the eleven-test
    beyond_visible: Literal["400", "404"] = "404"  # past the 1000 visible hits
    strict_profile_parameters: bool = True  # a stray query parameter of a profile gives 400, as on Zoeken
    no_route: Literal["html", "empty", "json"] = "html"  # the 404 of a path that does not exist

    # Shape of the answers
    release: Release = "2026-08"
    links: Literal["release", "accept", "arrays", "objects"] = (
        "release"  # everywhere the same, or by `Accept`
    )
    order: Literal["stable", "shifting"] = "stable"  # shifting: search results move between calls
    retired_paths: tuple[str, ...] = ()  # globs after the base, such as /v2/zoeken*
    retired_answer: Literal["404-html", "404-empty", "404-json", "410-html"] = "404-html"
    gzip: bool = False  # for clients that accept it (section 18.5)
    gzip_unasked: bool = False  # the same for clients that ask for bodies as they are
    leaks_key: bool = False  # ap, counter.id and apiAuthzDetails, which echoes the key (section 3)
    repeated_hsts: bool = False  # Strict-Transport-Security twice in one response (section 18.5)
    nested_errors: bool = False  # {"meldingen": {"fout": [...]}} (section 4)
    public_url: str = ""  # scheme and host in links; empty: the sandbox's own

    def __post_init__(self) -> None:
        if not 0 <= self.companies <= MOST_COMPANIES:
            raise ConfigError(
                f"sandbox settings: kvk.companies = {self.companies} must be between 0 and {MOST_COMPANIES}."
            )
        if not self.crowd_companies >= 0:
            raise ConfigError(f"sandbox settings: kvk.crowd_companies = {self.crowd_companies} is negative.")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name.endswith("_share") and not 0.0 <= value <= 1.0:
                raise ConfigError(
                    f"sandbox settings: kvk.{name} = {value} is not a share. Write a number from 0 to 1."
                )
        for code in self.erroneous_numbers.values():
            if not _CODE.fullmatch(code):
                raise ConfigError(
                    f"sandbox settings: kvk.erroneous_numbers names {code!r}. Write a code such as IPD1002."
                )
