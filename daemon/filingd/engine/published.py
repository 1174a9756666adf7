"""Which files of a store are bodies, or lie beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.ports import Registry, Store


async def published(registry: Registry, store: Store) -> Sequence[str]:
    """All published files below the folders of a registry, in order."""
    return [path for root in sorted(registry.roots) for path in await store.files(root)]
