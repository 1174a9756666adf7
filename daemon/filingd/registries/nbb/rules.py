"""What an operator decides about the mirror of NBB CBSO, as one value. Defaults follow the NBB reference."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from filingd.core.model import LaneSpec, ZipLimits
from filingd.registries.nbb.families import AUTHENTIC, Family
from filingd.registries.nbb.routes import DEFAULT_OPERATIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class NbbRules(msgspec.Struct, frozen=True):
    """Settings of one family. Ages are in calendar days in `zone`; a day published yesterday has age 1.

    `products` maps each subscribed product of the family to its lane; `datasets` are those that are wanted.
    """

    base_url: str
    since: dt.date
    zone: dt.tzinfo
    products: Mapping[str, LaneSpec]
    family: Family = AUTHENTIC
    datasets: tuple[str, ...] = AUTHENTIC.datasets
    operations: Mapping[tuple[str, str], Operation] = msgspec.field(
        default_factory=lambda: DEFAULT_OPERATIONS
    )
    # 6.2: the extract of day D opens on D+1 and closes about D+30; the archive opens about then, for three years.
    # An edge that is known exactly is said by three equal ages: the extract's maximum, its last try, giving up.
    settles_at: dt.time = dt.time(5, 0)
    first_try_at: dt.time = dt.time(0)  # at `settles_at` if that is later
    extract_max_age_days: int = 30
    extract_last_try_age_days: int = 33
    archive_min_age_days: int = 28
    archive_max_age_days: int = 1096
    edge_slack_days: int = 4
    edge_give_up_age_days: int = 35
    # 6.3: an empty day needs proof.
    empty_confirmations: int = 2
    empty_interval_s: float = 6 * HOUR_S
    known_empty_days: frozenset[dt.date] = frozenset()
    expect_filings_on_working_days: bool = True
    # 5.3, 6.5: late publication, re-verification.
    not_yet_interval_s: float = HOUR_S
    ask_again_cap_s: float = DAY_S
    publication_lag_days: int = 10  # 6.1: a filing is published within so many days of its deposit, as a rule
    unavailable_interval_s: float = 90 * DAY_S  # until what the bank does not serve is asked for once more
    recheck_ages_days: tuple[int, ...] = (2, 27)
    mismatch_retry_s: tuple[float, ...] = (HOUR_S, 6 * HOUR_S, DAY_S)
    # 13: retries.
    max_attempts: int = 8
    retry_base_s: float = 2.0
    retry_cap_s: float = 15 * 60.0
    give_up_pause_s: float = DAY_S
    max_body_bytes: int = 20 * 1024**3
    zip_limits: ZipLimits = msgspec.field(default_factory=ZipLimits)
    send_request_id: bool = True
    documents_lane: str | None = (
        None  # where its single documents can be asked for, if that product is subscribed
    )
