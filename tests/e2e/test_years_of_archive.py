"""Both families over a long time, nearly all of it through the archives: no day is missing, and all of it is what was served.

`FILINGD_ARCHIVE_DAYS` says how many days (default 90; `make soak` wants three years, but for the
last days: whether a day without anything is empty cannot be told where the archive may just have let go of it).
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

import pytest

from e2e.rig import YESTERDAY
from e2e.test_improved import ALL_PRODUCTS, check_truth, groups
from support.catalogue import check_catalogue
from support.daemon import days

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

pytestmark = pytest.mark.slow
DAYS = int(os.environ.get("FILINGD_ARCHIVE_DAYS", "90"))
LONGEST_S = 60.0 + DAYS
LOOKED_AT = 40  # days whose zips are compared with the truth, member by member


def test_no_day_of_either_family_is_missing_however_far_back(make_rig: Callable[..., Rig]) -> None:
    last = dt.date.fromisoformat(YESTERDAY)
    wanted = days((last - dt.timedelta(DAYS - 1)).isoformat(), YESTERDAY)
    rig = make_rig(since=wanted[0])
    rig.config.products = ALL_PRODUCTS
    # The sandbox's edges are known: what both products serve is settled by the first answer.
    rig.config.change(
        {
            "nbb": {
                "empty_interval": "100 ms",
                "not_yet_interval": "100 ms",
                "ask_again_cap": "200 ms",
                "extract_last_try_age_days": 30,
                "edge_give_up_age_days": 30,
            }
        }
    )
    rig.run(timeout_s=LONGEST_S)
    for family in ("authentic", "improved"):
        sealed = [day for day, (is_sealed, _) in groups(rig, family).items() if is_sealed]
        assert sorted(sealed) == wanted, family
    archived = wanted[:-35]
    spread = archived[:: max(1, len(archived) // LOOKED_AT)]
    assert check_truth(rig, spread, "improved-archive") > 0
    for day in spread:
        for dataset in ("references", "json", "xbrl", "pdf"):
            assert (
                rig.store.member_digests(day, dataset) if rig.store.zip_path(day, dataset).exists() else {}
            ) == (rig.truth.members(day, dataset))
    check_catalogue(rig.store)
