"""Where things lie on the operator's disk, relative to the store.

manifest.db                                   what is known of every item
catalogue.db                                  which filings there are and where each document lies; made anew when missing
nbb/authentic/2026/11/2026-11-20/json.zip     the body now current, under its final name
nbb/authentic/2026/11/2026-11-20/day.json     the seal: counts, digests, routes, unexplained gaps
nbb/authentic/2026/11/2026-11-20/SHA256SUMS   the seal, for `sha256sum -c`; written last, removed first
nbb/improved/…                                the same for improved data
nbb/documents/2026/00999/2026-00999001.json   a document that came by itself
versions/nbb/authentic/…/json.v1.zip          bodies that were replaced
quarantine/…                                  bodies that were refused, with their headers and the reason
index/…                                       what lies where in a zip; made anew when missing
"""

from __future__ import annotations

MANIFEST_NAME = "manifest.db"
CATALOGUE_NAME = "catalogue.db"
SEAL_NAME = "day.json"
SUMS_NAME = "SHA256SUMS"
VERSIONS = "versions"
QUARANTINE = "quarantine"
INDEX = "index"


def folder_of(target: str) -> str:
    """The folder of a target."""
    return target.rpartition("/")[0]


def name_of(target: str) -> str:
    """The last part of a target."""
    return target.rpartition("/")[2]


def beside(target: str, name: str) -> str:
    """Another file in the folder of a target."""
    folder = folder_of(target)
    return f"{folder}/{name}" if folder else name


def superseded(target: str, version: int) -> str:
    """Where the body of an older version is kept."""
    name = name_of(target)
    stem, _, extension = name.rpartition(".")
    kept = f"{stem}.v{version}.{extension}" if stem else f"{name}.v{version}"
    return f"{VERSIONS}/{beside(target, kept)}"


def is_set_aside(path: str) -> bool:
    """Whether a path, relative to the store, is a place in quarantine."""
    return path.startswith(f"{QUARANTINE}/")
