"""What is held stays held: bodies that no row knows, proven emptiness, and bodies that are larger than the disk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from e2e.rig import YESTERDAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

    MakeRig = Callable[..., Rig]


def test_a_lost_manifest_never_lets_a_body_be_written_over(make_rig: MakeRig) -> None:
    rig = make_rig(since="2026-11-16")
    rig.run("sealed")
    body = rig.store.zip_path(YESTERDAY, "json")
    held = hashlib.sha256(body.read_bytes()).hexdigest()
    asked = len(rig.journal())
    for path in rig.config.store_path.glob("manifest.db*"):
        path.unlink()
    rig.admin.add_fault({"kind": "mutate", "change": "added"}, date=YESTERDAY)
    run = rig.run("sealed")
    assert len(run.lines("item.found")) == 16, "four days of four datasets are found where they lie"
    assert len(rig.journal()) == asked, "and nothing is asked for again"
    assert hashlib.sha256(body.read_bytes()).hexdigest() == held


def test_a_proven_emptiness_outlives_a_failing_second_look(make_rig: MakeRig) -> None:
    rig = make_rig(since="2026-11-15", clock="2026-11-16T12:30")
    rig.run("sealed")
    assert rig.store.sealed_days() == ["2026-11-15"]
    rig.admin.clock_set("2026-11-17T12:30")
    rig.admin.add_fault({"kind": "status", "status": 500}, date="2026-11-15", dataset="references")
    with rig.daemon() as daemon:
        failed = daemon.wait_for("item.failed", key="nbb/authentic/2026-11-15/references")
    assert failed["state"] == "empty"
    assert daemon.lines("day.reopened") == []
    assert "2026-11-15" in rig.store.sealed_days()


def test_a_body_larger_than_the_room_is_not_even_begun(make_rig: MakeRig) -> None:
    rig = make_rig(since="2026-11-19", framing="length")
    rig.admin.add_fault({"kind": "length", "delta_bytes": 10**15}, dataset="pdf", date=YESTERDAY)
    with rig.daemon() as daemon:
        waits = daemon.wait_for("item.postponed", reason="does_not_fit")
        daemon.wait_for("item.stored", count=3)
    assert waits["key"].endswith("/pdf")
    assert len(rig.journal(dataset="pdf")) == 1
    assert list(rig.config.store_path.rglob(".*.part")) == []
