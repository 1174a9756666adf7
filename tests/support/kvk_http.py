"""One call to KVK as it comes over the wire, and the parameters of a search as a path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from support.raw_http import ask
from support.sandbox import KVK_KEYS, KVK_PUBLIC_TEST_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.raw_http import Reply

API, TEST = "/api", "/test/api"
HAL = "application/hal+json"


async def get(
    base_url: str,
    path: str,
    *,
    key: str | None = None,
    accept: str | None = "application/json",
    headers: Mapping[str, str | None] | None = None,
    **more: Any,
) -> Reply:
    """One request; the key is the public one for the test base and `main` otherwise, and empty for none."""
    if key is None:
        key = KVK_PUBLIC_TEST_KEY if path.startswith(TEST) else KVK_KEYS["main"]
    sent = {"apikey": key or None, **(headers or {})}
    return await ask(base_url, path, key=None, accept=accept, headers=sent, **more)


def zoeken(base: str = API, **parameters: Any) -> str:
    """The path of a search."""
    return f"{base}/v2/zoeken?{urlencode(parameters, doseq=True)}"


def code_of(reply: Reply) -> str:
    """The IPD code of an error; empty if the body holds none."""
    try:
        return str(json.loads(reply.body)["fout"][0]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
