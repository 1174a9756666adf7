"""Records changes that were decided a moment ago: what moved on meanwhile is left as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core import events
from filingd.core.errors import ManifestDamagedError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.model import Change
    from filingd.ports import Log, Manifest


async def record_what_stands(manifest: Manifest, changes: Sequence[Change], log: Log) -> int:
    """Record the changes whose items are still in the state they were seen in; returns how many.

    Raises:
        DiskFullError, DiskFaultError, ManifestDamagedError: the manifest cannot be written.
    """
    if not changes:
        return 0
    try:
        await manifest.record(changes)
    except ManifestDamagedError:
        raise
    except StoreError as error:
        if len(changes) > 1:
            return sum([await record_what_stands(manifest, [change], log) for change in changes])
        log.debug(events.PLAN_SKIPPED, key=changes[0].item.key, detail=str(error))
        return 0
    return len(changes)
