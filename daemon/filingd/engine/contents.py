"""Which group is sealed with which content, so that what belongs to one is never taken for another's.

A folder that was copied, or an answer to another question than the one that was asked, is sound in itself: only
beside the other group can it be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.seal import FINGERPRINT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from filingd.core.model import Group
    from filingd.ports import Manifest


class SealedContents:
    """Fingerprints of sealed groups, read from the manifest once and kept up to date by whoever seals."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._groups: dict[str, str] | None = None  # by fingerprint

    async def twin_of(self, group: str, facts: Mapping[str, Any]) -> str | None:
        """Another group that is sealed with this very content."""
        fingerprint = facts.get(FINGERPRINT)
        if fingerprint is None:
            return None
        if self._groups is None:
            sealed = await self._manifest.groups()
            self._groups = {of: known.key for known in sealed if (of := _fingerprint_of(known))}
        other = self._groups.get(fingerprint, group)
        return other if other != group and await self._still_holds(other, fingerprint) else None

    def note_sealed(self, group: str, facts: Mapping[str, Any]) -> None:
        """A group was sealed, or its seal stands."""
        fingerprint = facts.get(FINGERPRINT)
        if self._groups is not None and fingerprint is not None:
            self._groups[fingerprint] = group

    async def _still_holds(self, group: str, fingerprint: str) -> bool:
        """Not if its seal was taken back since, or it was sealed with something else."""
        known = await self._manifest.groups(group)
        return any(each.key == group and _fingerprint_of(each) == fingerprint for each in known)


def _fingerprint_of(group: Group) -> str | None:
    fingerprint = group.facts.get(FINGERPRINT)
    return str(fingerprint) if group.sealed_at is not None and fingerprint is not None else None
