"""Which alarms stand, told from the manifest, the disk, and what a running daemon wrote down. Light to import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filingd.core import alarms
from filingd.core.layout import ALARMS_NAME
from filingd.core.model import leaf_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.lanes import Traffic
    from filingd.core.alarms import Alarm, DayFacts, Told
    from filingd.core.model import Group, Item
    from filingd.settings import NbbSettings, Settings

_LARGEST_FILE_BYTES = 16 * 1024 * 1024


def standing_alarms(
    settings: Settings,
    reader: ManifestReader,
    groups: Sequence[Group],
    items_of: Callable[[str], Sequence[Item]],
    traffic: Traffic,
    now: float,
    *,
    is_daemon_running: bool,
) -> list[Alarm]:
    """The alarms that stand at an instant. `groups` are the days that are wanted; `items_of` gives the items of an open one.

    What only a daemon can know (its clock against the registry's, keys it cannot read) is believed while one is running.
    """
    found = os.statvfs(settings.store.path)
    facts = alarms.Facts(
        now=now,
        days=list(_days(settings.nbb, reader, groups, items_of, now)) if settings.nbb else [],
        lanes=traffic.lane_facts,
        accounts=traffic.account_facts,
        free_bytes=found.f_bavail * found.f_frsize,
        keep_free_bytes=settings.store.keep_free_bytes,
    )
    told = _told(settings)
    merged = alarms.merged(told, alarms.standing(facts, settings.alarm_bounds), facts)
    return [alarm for alarm in merged if is_daemon_running or alarm.kind not in facts.unknown_kinds]


def _days(
    nbb: NbbSettings,
    reader: ManifestReader,
    groups: Sequence[Group],
    items_of: Callable[[str], Sequence[Item]],
    now: float,
) -> Iterator[DayFacts]:
    observer = nbb.observer
    keys = {group.key: key for group in groups if (key := observer.listing_key(group.key, now)) is not None}
    listings = reader.current_versions(keys.values())
    for group in groups:
        if group.sealed_at is None or group.key in keys:
            items = () if group.sealed_at is not None else items_of(group.key)
            yield observer.day(group, items, listings.get(keys.get(group.key, "")), now)


def wanted_items(items: Sequence[Item], datasets: Collection[str]) -> list[Item]:
    """The items of a day that the configuration wants, in its order of datasets."""
    found = {leaf_of(item.key): item for item in items}
    return [found[dataset] for dataset in datasets if dataset in found]


def _told(settings: Settings) -> Sequence[Told]:
    """What the daemon said last; nothing if that cannot be read, for alarms are told from the manifest anyway."""
    try:
        with (settings.store.path / ALARMS_NAME).open("rb") as file:
            return alarms.told_of(file.read(_LARGEST_FILE_BYTES).decode("utf-8", "replace"))
    except OSError:
        return ()
