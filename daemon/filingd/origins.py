"""Which service the records in a store come from, as `origins.json` in it says.

Numbers of KVK's test environment belong to other companies in production: records of the two never share a store (KVK reference,
section 18.8). What was had once can be told apart by nothing but this file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filingd.core.errors import StoreError
from filingd.core.layout import ORIGINS_NAME
from filingd.settings_reader import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.ports import Store
    from filingd.settings import Settings


async def claim(store: Store, settings: Settings) -> None:
    """Let the store say where its records come from; to be done before any is asked for, by whoever has its lock.

    Raises:
        StoreError: it holds records of another service, or its file cannot be understood.
        DiskFullError, DiskFaultError: the disk refused.
    """
    wanted = origins_of(settings)
    known = _understood(await store.read_text(ORIGINS_NAME) if wanted else None, settings)
    for name, origin in wanted.items():
        if known.get(name, origin) != origin:
            raise StoreError(_told(settings, name, origin, known[name]))
    if wanted.keys() - known.keys():
        await store.write_text(ORIGINS_NAME, json.dumps({**known, **wanted}, indent=2) + "\n")


def origins_of(settings: Settings) -> Mapping[str, str]:
    """By registry, where its records come from. A sandbox on this machine is the same one whatever its port."""
    return {} if settings.kvk is None else {"kvk": _origin(settings.kvk.base_url)}


def _origin(base_url: str) -> str:
    url = urlsplit(base_url)
    return f"{url.scheme}://localhost{url.path}" if is_loopback(url.hostname) else base_url


def _understood(text: str | None, settings: Settings) -> Mapping[str, str]:
    try:
        known = json.loads(text or "{}")
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise StoreError(
            f"{settings.store.path / ORIGINS_NAME} cannot be understood: put it back from a backup, or remove it if you know "
            "that the store holds records of the configured services alone."
        )
    return known


def _told(settings: Settings, name: str, origin: str, known: str) -> str:
    return (
        f"[{name}] base_url is {origin}, and the store {settings.store.path} holds records of {known}. "
        "Test and production records never share a store: set [store] path to another one. "
        f"If both serve the same records, remove {ORIGINS_NAME} in the store."
    )
