"""Whatever arrives, is corrected, lost or forgotten, and wherever the indexer dies: catalogue and stored files agree."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from fakes.catalogue import FakeCatalogue
from fakes.clock import FakeClock
from fakes.log import FakeLog
from fakes.manifest import FakeManifest
from fakes.store import FakeStore
from filingd.adapters.catalogue import SqliteCatalogue
from filingd.adapters.catalogue_schema import remove
from filingd.core.model import HOLDING_STATES, Change, Item, LaneSpec, State, Version
from filingd.engine.indexer import Indexer
from filingd.registries.nbb.registry import NbbRegistry
from registries.nbb_cases import rules
from support.zips import made_zip

if TYPE_CHECKING:
    from filingd.ports import Catalogue

LANE = LaneSpec("nbb/authentic-query", 1.0)
REGISTRY = NbbRegistry([rules()], LANE)
REFERENCES = [f"2026-{number:08d}" for number in range(1, 7)]
COMPANIES = ["0999000129", "0999000228", None]  # None: a record that does not say whose it is
DAYS = ["2026-11-19", "2026-11-20"]
KEYS = [
    *(f"nbb/authentic/{day}/references" for day in DAYS),
    *(f"nbb/authentic/{DAYS[0]}/{dataset}" for dataset in ("json", "pdf")),
    *(f"nbb/improved/{DAYS[0]}/{dataset}" for dataset in ("references", "json")),
    f"nbb/documents/{REFERENCES[0]}/json",
    f"nbb/records/{REFERENCES[0]}/reference",
    f"nbb/enterprises/{COMPANIES[0]}/references",
]
SETS = st.lists(st.tuples(st.sampled_from(REFERENCES), st.sampled_from(COMPANIES)), max_size=5)


def record(reference: str, company: str | None, casing: str) -> dict[str, Any]:
    """A record of either casing, as both have been served."""
    named = {
        "ReferenceNumber": reference, "EnterpriseNumber": company, "EnterpriseName": f"VOORBEELD {company}",
        "ModelType": "m87-f", "DepositDate": "2026-06-24", "DataVersion": "Authentic",
    }  # fmt: skip
    return named if casing == "pascal" else {key[0].lower() + key[1:]: value for key, value in named.items()}


def body_of(key: str, listed: list[tuple[str, str | None]], casing: str) -> bytes:
    """A body of the kind that an item has."""
    kind, leaf = key.split("/")[1], key.rpartition("/")[2]
    own = key.split("/")[2]
    if kind == "documents":
        return json.dumps({"ReferenceNumber": own, "Rubrics": listed}).encode()
    if kind == "records":
        return json.dumps(record(own, COMPANIES[0], "pascal")).encode()
    if kind == "enterprises":
        return json.dumps([record(reference, own, "pascal") for reference, _ in listed]).encode()
    if leaf != "references":
        label = "-aa-corrected" if kind == "improved" else ""
        return made_zip({f"{reference}{label}.{leaf}": casing.encode() * 9 for reference, _ in listed})
    records = {reference: json.dumps(record(reference, company, casing)) for reference, company in listed}
    return made_zip({f"{reference}.json": text.encode() for reference, text in records.items()})


class Agreement(RuleBasedStateMachine):
    """A manifest and a store in memory, the real catalogue on disk, and an indexer that dies now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "catalogue.db"
        self.runner = asyncio.Runner()
        self.manifest = FakeManifest()
        self.store = FakeStore()
        self.log = FakeLog()

    def teardown(self) -> None:
        self.runner.close()
        self.folder.cleanup()

    async def _open(self, begins_anew: bool) -> Catalogue:
        if begins_anew:
            await asyncio.to_thread(remove, self.path)
        return await SqliteCatalogue.open(self.path)

    async def _index(self, dies_after_turns: int | None) -> None:
        """Run an indexer until it is current, or to a death after so many turns of the event loop."""
        indexer = Indexer(REGISTRY, self.store, self.manifest, self._open, FakeClock(), self.log)
        running = asyncio.create_task(indexer.run())
        turns = 0
        while not running.done() and turns != dies_after_turns:
            if dies_after_turns is None and await indexer.is_current():
                break
            await asyncio.sleep(0)
            turns += 1
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()

    @rule(key=st.sampled_from(KEYS), listed=SETS, casing=st.sampled_from(["camel", "pascal"]))
    def arrives(self, key: str, listed: list[tuple[str, str | None]], casing: str) -> None:
        """A first body, another version, or one that was lost and is had again."""
        self.runner.run(self._store(key, body_of(key, listed, casing)))

    async def _store(self, key: str, body: bytes) -> None:
        known = (await self.manifest.items([key])).get(key)
        before = known.state if known else None
        number = (known.version if known else 0) + 1
        digest = hashlib.sha256(body).digest()
        item = Item(
            key, "nbb/extract", State.STORED, due_at=None, size_bytes=len(body), sha256=digest, version=number
        )
        target = REGISTRY.target(key)
        self.store.published[target] = body
        version = Version(key, number, target, len(body), digest, 1.0, "extract/json", f"r-{number}")
        await self.manifest.record([Change(before, item, version)])

    @rule(which=st.integers(0, 99))
    def is_lost(self, which: int) -> None:
        """A file is gone; it is wanted again."""
        held = [row for row in self.manifest.rows.values() if row.state in HOLDING_STATES]
        if held:
            known = held[which % len(held)]
            self.store.published.pop(REGISTRY.target(known.key), None)
            gone = replace(known, state=State.DUE, due_at=0.0)
            self.runner.run(self.manifest.record([Change(known.state, gone)]))

    @rule(turns=st.integers(0, 60))
    def dies(self, turns: int) -> None:
        """The indexer begins, and ends at any moment."""
        self.runner.run(self._index(turns))

    @rule()
    def catches_up(self) -> None:
        """The indexer comes to the end of the feed: then catalogue and files say the same."""
        self.runner.run(self._index(None))
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        expected = FakeCatalogue()
        versions = await self.manifest.current_versions(
            [key for key, row in self.manifest.rows.items() if row.state in HOLDING_STATES]
        )
        held = [versions[key] for key in sorted(versions)]
        looked = await self.store.look_into(
            [version.path for version in held], lambda at, body: REGISTRY.contribution(held[at], body)
        )
        for contribution in looked:
            assert not isinstance(contribution, Exception)
            assert contribution is not None
            await expected.contribute(contribution)
        catalogue = await SqliteCatalogue.open(self.path)
        try:
            assert dict(await catalogue.sources()) == dict(await expected.sources())
            for reference in REFERENCES:
                assert await catalogue.entry(reference) == await expected.entry(reference)
            for company in filter(None, COMPANIES):
                assert await catalogue.filings_of(company) == await expected.filings_of(company)
            assert await catalogue.parked(99) == await expected.parked(99)
            assert await catalogue.totals() == await expected.totals()
        finally:
            await catalogue.close()

    @invariant()
    def nobody_was_alarmed(self) -> None:
        """Everything that was stored could be read."""
        assert not self.log.of("alarm.raised")


TestAgreement = pytest.mark.slow(Agreement.TestCase)
TestAgreement.settings = settings(
    max_examples=50, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
