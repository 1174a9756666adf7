"""Where things lie on the operator's disk, relative to the store.

manifest.db                                   what is known of every item
catalogue.db                                  which filings there are and where each document lies; made anew when missing
ledger.db                                     calls and money spent, by account and month; never made anew silently
origins.json                                  which service's records the store holds; written once
alarms.json                                   which alarms stand and when they were said last; derived, may be removed
nbb/authentic/2026/11/2026-11-20/json.zip     the body now current, under its final name
nbb/authentic/2026/11/2026-11-20/day.json     the seal: counts, digests, routes, unexplained gaps
nbb/authentic/2026/11/2026-11-20/SHA256SUMS   the seal, for `sha256sum -c`; written last, removed first
nbb/improved/…                                the same for improved data
nbb/documents/2026/00999/2026-00999001.json   a document that came by itself
nbb/improved-documents/…/REF.corrected.json   an improved document that came by itself
nbb/enterprises/0403/101/0403101811.references.json   what the registry says of a company
versions/nbb/authentic/…/json.v1.zip          bodies that were replaced
quarantine/…                                  bodies that were refused, with their headers and the reason
index/…                                       what lies where in a zip; made anew when missing
forgotten.jsonl                               what an operator was told to forget; never had again
"""

from __future__ import annotations

import re

MANIFEST_NAME = "manifest.db"
CATALOGUE_NAME = "catalogue.db"
LEDGER_NAME = "ledger.db"
FORGOTTEN_NAME = "forgotten.jsonl"
ORIGINS_NAME = "origins.json"
ALARMS_NAME = "alarms.json"
SEAL_NAME = "day.json"
SUMS_NAME = "SHA256SUMS"
VERSIONS = "versions"
QUARANTINE = "quarantine"
INDEX = "index"

_SUPERSEDED = re.compile(rf"{VERSIONS}/(?P<stem>.+)\.v(?P<number>[1-9]\d*)(?P<extension>\.[^./]+)?", re.ASCII)
_SET_ASIDE = re.compile(rf"{QUARANTINE}/(?P<target>.+)\.\d{{8}}T\d{{6}}Z(?:-\d+)?", re.ASCII)


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


def superseded_of(path: str) -> tuple[str, int] | None:
    """The inverse of `superseded`: target and number; None for any other path."""
    match = _SUPERSEDED.fullmatch(path)
    return (match["stem"] + (match["extension"] or ""), int(match["number"])) if match else None


def set_aside_of(path: str) -> str | None:
    """What the body was, or was to become, that lies at a place in quarantine; None if it is no such place."""
    match = _SET_ASIDE.fullmatch(path)
    return match["target"] if match else None
