"""The seal of a day, as text: `day.json` for programs, `SHA256SUMS` for `sha256sum -c`."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

from filingd.core.forgetting import TAKEN_OUT
from filingd.core.layout import SEAL_NAME, name_of
from filingd.core.model import HOLDING_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.model import Holding, Version

SEAL_FORMAT = 1
FINGERPRINT = "fingerprint"  # of the facts: what no two groups can share; None or absent if any two may


def iso(instant: float) -> str:
    """An instant as ISO 8601 in UTC, to the second."""
    return dt.datetime.fromtimestamp(instant, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def seal_text(group: str, facts: Mapping[str, Any], holdings: Mapping[str, Holding], sealed_at: float) -> str:
    """The text of `day.json`."""
    seal = {
        "format": SEAL_FORMAT,
        "group": group,
        "sealed_at": iso(sealed_at),
        **facts,
        "items": {leaf: _entry(holding) for leaf, holding in holdings.items()},
    }
    return json.dumps(seal, indent=1, ensure_ascii=False) + "\n"


def sums_text(holdings: Mapping[str, Holding], seal: str) -> str:
    """The text of `SHA256SUMS`: every stored body, and the seal itself, by file name."""
    digests = _stored_digests(holdings) | {SEAL_NAME: hashlib.sha256(seal.encode()).hexdigest()}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def names_all(sums: str, holdings: Mapping[str, Holding]) -> bool:
    """Whether a text of `SHA256SUMS` names every body as it is now, and no other one."""
    named = {line[66:]: line[:64] for line in sums.splitlines()}
    named.pop(SEAL_NAME, None)
    return named == _stored_digests(holdings)


def _stored_digests(holdings: Mapping[str, Holding]) -> dict[str, str]:
    """SHA-256 in hexadecimal by file name."""
    versions = (_stored_version(holding) for holding in holdings.values())
    return {name_of(version.path): version.sha256.hex() for version in versions if version is not None}


def _stored_version(holding: Holding) -> Version | None:
    """The body that lies under the final name, if there is one."""
    return holding.version if holding.item.state in HOLDING_STATES else None


def _entry(holding: Holding) -> dict[str, Any]:
    item, version = holding.item, _stored_version(holding)
    if version is None:
        return {
            "state": item.state.name.lower(),
            "reason": item.reason,
            "asked": item.nothing_count,
            "asked_since": iso(item.nothing_at) if item.nothing_at is not None else None,
        }
    return {
        "state": "stored",
        "file": name_of(version.path),
        "size_bytes": version.size_bytes,
        "sha256": version.sha256.hex(),
        "stored_at": iso(version.stored_at),
        "version": version.number,
        "members": version.member_count,
        **({TAKEN_OUT: version.facts[TAKEN_OUT]} if version.facts.get(TAKEN_OUT) else {}),
        "route": version.route,
        "request_id": version.request_id,
    }
