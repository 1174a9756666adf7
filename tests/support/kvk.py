"""A configuration for KVK: its section as `DaemonConfig.change` takes it, its keys, and lists and searches as files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.sandbox import KVK_KEYS, KVK_PUBLIC_TEST_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LISTS = "kvk-watchlists"  # the folder of lists and searches, beside the configuration
KEYS = {**KVK_KEYS, "public-test": KVK_PUBLIC_TEST_KEY}
EVERY_PART = ["basisprofiel", "eigenaar", "hoofdvestiging", "vestigingen", "naamgeving", "vestigingsprofiel"]


def variable(account: str) -> str:
    """The environment variable that holds the key of an account."""
    return f"FILINGD_TEST_KVK_{account.upper().replace('-', '_')}"


def environment(accounts: Iterable[str] = tuple(KEYS)) -> dict[str, str]:
    """What a daemon needs in its environment."""
    return {variable(account): KEYS[account] for account in accounts}


def section(
    base_url: str,
    *,
    watch: Mapping[str, Mapping[str, Any]],
    accounts: Mapping[str, Mapping[str, Any]] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """The tables `[kvk]`, `[kvk.keys.…]` and `[kvk.watch.…]`; `accounts` gives each key's fields beside the key itself, which
    the sandbox has under the same name.
    """
    keys = {
        account: {"key": f"env:{variable(account)}", "budget_per_month_eur": 1000.0, **limits}
        for account, limits in (accounts or {"main": {}}).items()
    }
    plain = {"base_url": base_url, "calls_per_second": 90.0, "concurrency": 8}
    return {
        "kvk": plain | fields | {"keys": keys, "watch": {name: dict(terms) for name, terms in watch.items()}}
    }


def write_list(folder: Path, name: str, numbers: Iterable[str]) -> Path:
    """A watchlist of numbers beside the configuration in `folder`."""
    path = folder / LISTS / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{number}\n" for number in numbers))
    return path


def write_search(folder: Path, name: str, **fields: Any) -> Path:
    """A saved search beside the configuration in `folder`."""
    path = folder / LISTS / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{field} = {json.dumps(value)}\n" for field, value in fields.items()))
    return path
