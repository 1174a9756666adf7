"""The registry's clock is looked at: days are asked for by our own, and ours may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.rig import YESTERDAY
from support.daemon import run_daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

pytestmark = pytest.mark.slow


def test_a_daemon_whose_clock_agrees_with_the_registry_says_nothing_of_it(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=YESTERDAY)
    assert rig.run().lines("alarm.raised", kind="clock_skew") == []


def test_a_daemon_whose_clock_is_an_hour_ahead_says_so_once(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since=YESTERDAY)
    _, daemon = run_daemon(rig.config, rehearse_at=rig.admin.clock() + 3600.0, until="idle")
    (alarm,) = daemon.lines("alarm.raised", kind="clock_skew")
    assert "s ahead of the registry's" in alarm["detail"]
    assert "timedatectl" in alarm["remedy"]
