"""What an operator decides about KVK, as one value. Defaults follow the KVK reference; what that marks as unknown is here
rather than in the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from filingd.core.model import AccountSpec, GateSpec, LaneSpec
from filingd.registries.kvk.operations import DEFAULT_PATHS, FREE_PRODUCTS, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MINUTE_S = 60.0
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
GATE = "kvk"


class KvkAccount(msgspec.Struct, frozen=True):
    """One key and what it may spend in a calendar month. `key_name` says where the key is, never what it is.

    `price_microeur` is what a call costs, in millionths of a euro; searches are free (section 13).
    """

    name: str
    key_name: str
    calls_per_month: int | None = None
    budget_per_month_microeur: int | None = None
    price_microeur: int = 20_000
    is_spread: bool = False


class KvkRules(msgspec.Struct, frozen=True):
    """Settings of the registry. `zone` is the IANA name of the time zone whose calendar months are counted."""

    base_url: str
    accounts: tuple[KvkAccount, ...]
    zone: str = "Europe/Amsterdam"
    calls_per_s: float = 10.0
    burst: int = 1
    concurrency: int = 8
    paths: Mapping[str, str] = msgspec.field(default_factory=lambda: DEFAULT_PATHS)
    # Section 4: temporary states, tombstones, codes nobody has seen.
    not_processed_interval_s: float = DAY_S  # IPD1002
    unavailable_interval_s: float = 10 * MINUTE_S  # IPD1003
    tombstone_interval_s: float = 30 * DAY_S
    unknown_code_interval_s: float = DAY_S
    unknown_code_tries: int = 3
    unproven_interval_s: float = HOUR_S  # a 404 that cannot be believed yet; doubled with each
    most_not_found_in_a_row: int = 50
    mismatch_interval_s: float = (
        10 * MINUTE_S
    )  # a cell whose rows do not add up; doubled while nothing changes
    keep_versions_of_shielded: bool = False
    # Section 15.1.3: retries.
    max_attempts: int = 3
    retry_base_s: float = 5.0
    retry_cap_s: float = 15 * MINUTE_S
    give_up_pause_s: float = DAY_S
    max_body_bytes: int = 8 * 1024 * 1024  # a list of 1000 branches has less than one (section 15.1.4)

    def lane_name(self, account: str, product: str) -> str:
        """The lane on which a product is asked for with the key of an account."""
        return f"{GATE}/{account}/{product}"

    def lanes(self) -> Sequence[LaneSpec]:
        """One for each account and product: a contract may lack a product (section 4)."""
        return [
            LaneSpec(
                self.lane_name(account.name, product),
                self.calls_per_s,
                self.burst,
                self.concurrency,
                (account.key_name,),
                gate=GATE,
                account=f"{GATE}/{account.name}",
                price_microeur=0 if product in FREE_PRODUCTS else account.price_microeur,
            )
            for account in self.accounts
            for product in PRODUCTS
        ]

    def gates(self) -> Sequence[GateSpec]:
        """One for all: whether limits are per key or per organisation is unknown (section 5)."""
        return [GateSpec(GATE, self.calls_per_s, self.burst, self.concurrency)]

    def account_specs(self) -> Sequence[AccountSpec]:
        """What may be spent with each key."""
        return [
            AccountSpec(
                f"{GATE}/{account.name}",
                self.zone,
                account.calls_per_month,
                account.budget_per_month_microeur,
                account.is_spread,
            )
            for account in self.accounts
        ]
