"""The seal of a day, as text: `day.json` for programs, `SHA256SUMS` for `sha256sum -c`."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

from filingd.core.layout import SEAL_NAME, name_of
from filingd.core.model import HOLDING_STATES, leaf_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.model import Holding

SEAL_FORMAT = 1


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
    """The text of `SHA256SUMS`: every stored body, and the seal itself."""
    stored = [holding for holding in holdings.values() if _is_stored(holding)]
    lines = [f"{_sha256(holding)}  {name_of(_path(holding))}" for holding in stored]
    lines.append(f"{hashlib.sha256(seal.encode()).hexdigest()}  {SEAL_NAME}")
    return "\n".join(sorted(lines, key=lambda line: line[66:])) + "\n"


def _is_stored(holding: Holding) -> bool:
    return holding.item.state in HOLDING_STATES and holding.version is not None


def _path(holding: Holding) -> str:
    return holding.version.path if holding.version else leaf_of(holding.item.key)


def _sha256(holding: Holding) -> str:
    return holding.item.sha256.hex() if holding.item.sha256 else ""


def _entry(holding: Holding) -> dict[str, Any]:
    item, version = holding.item, holding.version
    if not _is_stored(holding) or version is None:
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
        "route": version.route,
        "request_id": version.request_id,
    }
