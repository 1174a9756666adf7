"""A mirror whose catalogue knows what was filed: both families of days, a document that came by itself, one the bank has not."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

from filingd.adapters.manifest_reader import ManifestReader
from support.daemon import SANDBOX_KEYS
from support.mirror import INSTANT, Mirror, Said, filingd
from support.sandbox import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = "2026-11-19"
SINCE = "2026-11-16"
PRODUCTS = ("extract", "authentic-archive", "improved", "improved-archive", "authentic-query")


class Catalogued:
    """A filled mirror, its catalogue, and what the sandbox says is true."""

    def __init__(self, mirror: Mirror, whole: dict[str, str]) -> None:
        """`whole` is what the day's json zip would hold if nothing were left out: SHA-256 by member name."""
        self.mirror = mirror
        self.whole = whole
        self.root = mirror.config.store_path

    def run(self, *command: str, **how: Any) -> Said:
        """A command of filingd on this store."""
        return filingd(*command, "--config", str(self.mirror.config.path), **how)

    def copy(self, folder: Path) -> Catalogued:
        """The same again, for one test to spoil."""
        copied = self.mirror.copy(folder)
        _configure(copied)
        copied.config.write()
        return Catalogued(copied, self.whole)

    def records(self, day: str = DAY, family: str = "authentic") -> list[dict[str, Any]]:
        """The records of a day's references zip, as they were served, with keys in small letters."""
        path = self.root / "nbb" / family / day[:4] / day[5:7] / day / "references.zip"
        with zipfile.ZipFile(path) as archive:
            found = [json.loads(archive.read(name)) for name in archive.namelist()]
        return [{key.lower().replace("_", ""): value for key, value in one.items()} for one in found]

    def served(self, dataset: str, day: str = DAY) -> dict[str, str]:
        """SHA-256 by member name, as the sandbox says."""
        told = self.mirror.sandbox.admin.day(day, members=True)["datasets"][dataset]
        return dict(told.get("members", {}))

    def documents_by_themselves(self) -> list[Path]:
        """What lies among the single documents."""
        folder = self.root / "nbb" / "documents"
        return sorted(path for path in folder.rglob("*") if path.is_file())


def catalogued_mirrors(folder: Path) -> Iterator[Catalogued]:
    """A filled, catalogued mirror and its running sandbox, for a fixture to yield."""
    with SandboxProcess(
        clock=INSTANT, scale=0.02, late_share=0.0, pdf_only_share=0.2, keys=SANDBOX_KEYS
    ) as sandbox:
        mirror = Mirror(folder, sandbox)
        _configure(mirror)
        whole = _members(sandbox)
        absent = _leave_out_documents(sandbox)
        mirror.fill()
        made = Catalogued(mirror, whole)
        assert made.documents_by_themselves(), "the sandbox was to serve one document by itself"
        with ManifestReader(mirror.config.store_path / "manifest.db") as manifest:
            (item,) = manifest.items([f"nbb/documents/{absent}/json"]).values()
            assert item.state.name == "EMPTY"
        yield made


def _configure(mirror: Mirror) -> None:
    mirror.config.since = SINCE
    mirror.config.products = PRODUCTS
    mirror.config.change({"nbb": {"mismatch_retry": ["200 ms", "400 ms"]}})


def _leave_out_documents(sandbox: SandboxProcess) -> str:
    """See that the json zip lacks two of its documents; the reference of the one that is served by nobody."""
    whole = _members(sandbox)
    for member in (0, 2):
        effect = {"kind": "mutate", "change": "removed", "member": member}
        sandbox.admin.add_fault(effect, product="extract", dataset="json", date=DAY)
    _, absent = sorted(whole.keys() - _members(sandbox).keys())
    reference = absent.partition(".")[0]
    sandbox.admin.add_fault(
        {"kind": "status", "status": 404, "family": 1}, product="authentic-query", reference=reference
    )
    return reference


def _members(sandbox: SandboxProcess) -> dict[str, str]:
    return dict(sandbox.admin.day(DAY, members=True)["datasets"]["json"]["members"])
