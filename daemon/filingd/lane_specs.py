"""The configuration as lanes, gates and accounts, without the registries that ask on them: light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filingd.core.ledger import MICROEUR_PER_EUR
from filingd.core.model import LaneSpec
from filingd.registries.kvk.operations import DEFAULT_PATHS
from filingd.registries.kvk.rules import KvkAccount, KvkRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.model import AccountSpec, GateSpec
    from filingd.settings import ProductSettings, Settings
    from filingd.settings_kvk import KvkSettings


class LaneSpecs(NamedTuple):
    """What all configured registries promise."""

    lanes: Sequence[LaneSpec]
    gates: Sequence[GateSpec]
    accounts: Sequence[AccountSpec]


def lane_specs(settings: Settings) -> LaneSpecs:
    """Those of every registry that is configured."""
    nbb = [nbb_lane_spec(name, product) for name, product in settings.subscriptions.items()]
    if settings.kvk is None:
        return LaneSpecs(nbb, (), ())
    rules = kvk_rules(settings.kvk)
    return LaneSpecs([*nbb, *rules.lanes()], rules.gates(), rules.account_specs())


def nbb_lane_spec(name: str, product: ProductSettings) -> LaneSpec:
    """A product of NBB as a lane."""
    return LaneSpec(
        f"nbb/{name}", product.calls_per_second, product.burst, product.concurrency, tuple(product.keys)
    )


def kvk_rules(kvk: KvkSettings) -> KvkRules:
    """The operator's settings as the registry's rules."""
    accounts = [
        KvkAccount(
            name,
            each.key,
            each.calls_per_month,
            round(each.budget_per_month_eur * MICROEUR_PER_EUR),
            round(each.price_per_call_eur * MICROEUR_PER_EUR),
            each.spread,
        )
        for name, each in kvk.keys.items()
    ]
    return KvkRules(
        kvk.base_url,
        tuple(accounts),
        zone=kvk.timezone,
        calls_per_s=kvk.calls_per_second,
        burst=kvk.burst,
        concurrency=kvk.concurrency,
        paths={**DEFAULT_PATHS, **kvk.paths.by_part},
        not_processed_interval_s=kvk.not_processed_interval_s,
        unavailable_interval_s=kvk.unavailable_interval_s,
        tombstone_interval_s=kvk.tombstone_interval_s,
        unknown_code_interval_s=kvk.unknown_code_interval_s,
        unknown_code_tries=kvk.unknown_code_tries,
        most_not_found_in_a_row=kvk.most_not_found_in_a_row,
        keep_versions_of_shielded=kvk.keep_versions_of_shielded,
    )
