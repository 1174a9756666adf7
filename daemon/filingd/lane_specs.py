"""The configuration as lanes, gates and accounts, without the registries that ask on them: light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filingd.core.model import LaneSpec
from filingd.registries.kvk.operations import DEFAULT_PATHS
from filingd.registries.kvk.rules import KvkAccount, KvkRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.model import AccountSpec, GateSpec
    from filingd.settings import ProductSettings, Settings
    from filingd.settings_kvk import KvkSettings

MICROEUR_PER_EUR = 1_000_000


class LaneSpecs(NamedTuple):
    """What all configured registries promise."""

    lanes: Sequence[LaneSpec]
    gates: Sequence[GateSpec]
    accounts: Sequence[AccountSpec]
