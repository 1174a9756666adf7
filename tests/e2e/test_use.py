"""The mirror in use: a consumer follows the feed while a daemon mirrors, dies and starts again; documents are had out of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import pytest

from filingd.core.feed import FeedKind
from support.daemon import DATASETS, days, wait_until
from support.mirror import filingd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from e2e.rig import Rig

pytestmark = pytest.mark.slow
SINCE = "2026-11-09"
DAYS = days(SINCE, "2026-11-19")


class Consumer:
    """`filingd changes --follow` into a file."""

    def __init__(self, rig: Rig, since: int = 0) -> None:
        self._rig = rig
        self._since = since
        self.path: Path = rig.config.folder / f"changes-{since}.jsonl"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "filingd", "changes", "--config", str(self._rig.config.path)]
        with self.path.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--follow", "--since", str(self._since)], stdout=output, stderr=subprocess.PIPE
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def lines(self) -> list[dict[str, Any]]:
        """What it has told so far."""
        data = self.path.read_bytes()
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def wait_for_last(self, seq: int) -> None:
        """Until it has told this event."""
        wait_until(lambda: self._reached(seq), f"event {seq} in {self.path}")

    def end(self) -> tuple[int, bytes]:
        """SIGTERM; how it ended and what it said."""
        self._process.terminate()
        _, err = self._process.communicate(timeout=30)
        return self._process.returncode, err

    def _reached(self, seq: int) -> bool:
        assert self._process.poll() is None, "the consumer ended"
        lines = self.lines()
        return bool(lines) and lines[-1]["seq"] >= seq


def feed_of(rig: Rig) -> list[tuple[int, str, str]]:
    """The feed as it stands in the manifest."""
    with rig.store.manifest() as manifest:
        rows = manifest.execute("SELECT seq, kind, subject FROM feed ORDER BY seq").fetchall()
    return [(row["seq"], FeedKind(row["kind"]).name.lower(), row["subject"]) for row in rows]


def subject_of(line: dict[str, Any]) -> str:
    return str(line.get("key") or line.get("group") or line.get("subject") or "")


def test_a_consumer_is_told_every_stored_item_and_every_seal_once_and_in_order_across_a_death(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=SINCE, latency_ms=20)
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(rig.daemon())
        daemon.wait_for("daemon.started")
        wait_until((rig.config.store_path / "manifest.db").exists, "manifest")
        daemon.wait_for("item.stored")
        consumer = stack.enter_context(Consumer(rig))
        daemon.wait_for("item.stored", count=12)
        daemon.kill()
        rig.run("sealed")
        feed = feed_of(rig)
        consumer.wait_for_last(feed[-1][0])
        assert consumer.end() == (0, b"")
    lines = consumer.lines()
    assert [(line["seq"], line["kind"], subject_of(line)) for line in lines] == feed
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    stored = Counter(line["key"] for line in lines if line["kind"] == "stored")
    held = {key for key, item in rig.store.items().items() if item.state == "stored"}
    assert stored == Counter(held)
    assert Counter(line["group"] for line in lines if line["kind"] == "sealed") == Counter(
        f"nbb/authentic/{day}" for day in DAYS
    )
    for line in lines:
        if line["kind"] == "stored":
            item = rig.store.items()[line["key"]]
            assert (line["sha256"], line["size_bytes"]) == (item.sha256, item.size_bytes)
            assert (rig.store.root / line["path"]).stat().st_size == line["size_bytes"]


def test_a_consumer_that_comes_again_is_told_what_it_missed_and_no_more(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    rig.run("sealed")
    head = feed_of(rig)[-1][0]
    rig.config.since = "2026-11-16"
    rig.run("sealed")
    missed = [row for row in feed_of(rig) if row[0] > head]
    with Consumer(rig, since=head) as consumer:
        consumer.wait_for_last(missed[-1][0])
        assert [(line["seq"], line["kind"], subject_of(line)) for line in consumer.lines()] == missed
    assert {group for _, kind, group in missed if kind == "sealed"} == {
        "nbb/authentic/2026-11-16", "nbb/authentic/2026-11-17"
    }  # fmt: skip


def test_find_and_cat_give_the_very_bytes_that_the_registry_served(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig(since="2026-11-19")
    rig.run("sealed")
    config = ("--config", str(rig.config.path))
    for dataset in DATASETS[1:]:
        for name, digest in rig.truth.members("2026-11-19", dataset).items():
            reference = name.partition(".")[0]
            found = filingd("find", reference, *config, "--json").json
            (place,) = (one for one in found["filings"][0]["documents"] if one["kind"] == dataset)
            assert (place["path"], place["member"]) == (
                f"nbb/authentic/2026/11/2026-11-19/{dataset}.zip",
                name,
            )
            output = tmp_path / name
            said = filingd("cat", reference, "--format", dataset, "--output", str(output), *config)
            assert (said.code, said.err) == (0, "")
            assert hashlib.sha256(output.read_bytes()).hexdigest() == digest
