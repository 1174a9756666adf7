"""A daemon that mirrors the sandbox's KVK and nothing else, and the truth about what it should hold."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from e2e.rig import Rig
from filingd.adapters.manifest_reader import ManifestReader
from support import kvk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from e2e.rig import SandboxPool
    from support.daemon import DayRow, ItemRow

BUDGET = {"budget_per_month_eur": 1000.0}
PARTS_OF_COMPANY = ("basisprofiel", "eigenaar", "hoofdvestiging", "vestigingen", "naamgeving")


class KvkRig:
    """See the module. `base` is `api` or `test`; links are arrays, so that bodies compare to the byte."""

    def __init__(
        self,
        folder: Path,
        pool: SandboxPool,
        *,
        base: str = "api",
        accounts: Mapping[str, Mapping[str, Any]] | None = None,
        watch: Mapping[str, Mapping[str, Any]] | None = None,
        knobs: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.base = base
        settings = {"companies": 300, "crowd_companies": 0, "links": "arrays", **(knobs or {})}
        self.rig = Rig(folder, pool, since="2026-11-19", kvk=settings)
        sandbox = self.rig.sandbox
        url = sandbox.kvk_base_url if base == "api" else sandbox.kvk_test_base_url
        tables = kvk.section(url, watch=watch or {}, accounts=accounts or {"main": BUDGET}, **fields)
        self.rig.config.change({"nbb": None, **tables})
        self.folder = folder
        self.admin = self.rig.admin
        self.store = self.rig.store

    def follow(self, name: str, numbers: Iterable[str]) -> None:
        """Write a list."""
        kvk.write_list(self.folder, name, numbers)

    def search(self, name: str, **fields: Any) -> None:
        """Save a search."""
        kvk.write_search(self.folder, name, **fields)

    def run(self, until: str = "idle", timeout_s: float = 60.0) -> Any:
        """Run a daemon to its own end; expects exit 0."""
        return self.rig.run(until, timeout_s)

    def companies(self, count: int) -> list[str]:
        """Numbers of companies that are active."""
        numbers = self.admin.kvk_companies(2 * count, base=self.base)
        active = (number for number in numbers if self.admin.kvk_company(number, base=self.base)["active"])
        return list(islice(active, count))

    def truth(self, number: str, part: str) -> bytes | None:
        """The digest of what KVK answers about a part of a number now; None if it has nothing."""
        ask = self.admin.kvk_branch if len(number) == 12 else self.admin.kvk_company
        answer = ask(number, base=self.base)["answers"][part]
        return bytes.fromhex(answer["sha256"]) if answer["status"] == 200 else None

    def held(self) -> dict[tuple[str, str], bytes]:
        """The digests of the records that lie in the store, by number and part."""
        found = {}
        for path in sorted((self.store.root / "kvk" / "numbers").rglob("*.json")):
            number, part, _ = path.name.split(".")
            found[number, part] = hashlib.sha256(path.read_bytes()).digest()
        return found

    def body(self, number: str, part: str) -> dict[str, Any]:
        """A record as it lies in the store."""
        name = f"{number}.{part}.json"
        path = self.store.root / "kvk" / "numbers" / number[:4] / number[4:7] / name
        return dict(json.loads(path.read_bytes()))

    def item(self, number: str, part: str = "basisprofiel") -> ItemRow:
        """The row of a record."""
        return self.store.items()[f"kvk/numbers/{number}/{part}"]

    def cells(self) -> dict[str, DayRow]:
        """The rows of the cells of all searches, by the name of the cell."""
        return self.store.cells()

    def versions(self, number: str, part: str = "basisprofiel") -> list[dict[str, Any]]:
        """The facts of the stored bodies of a record, oldest first."""
        with ManifestReader(self.store.root / "manifest.db") as reader:
            return [dict(version.facts) for version in reader.versions(f"kvk/numbers/{number}/{part}")]

    def asked(self, operation: str | None = None) -> list[str]:
        """The numbers that were asked for, in order; of an operation, or of all but searches."""
        entries = self.admin.journal(registry="kvk")
        return [
            entry["number"]
            for entry in entries
            if entry["operation"] == operation or (operation is None and entry["operation"] != "zoeken")
        ]
