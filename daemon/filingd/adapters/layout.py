"""Where things lie in a store: final names, member indexes, quarantine. Blocking; called from side threads.

<root>/<target>                    a published file
<root>/<folder>/.<name>.part       a body that is arriving, beside its final name
<root>/<folder>/.<name>.part.json  what is needed to resume it
<root>/versions/...                earlier bodies, where the engine says
<root>/quarantine/<target>.<when>  refused bodies, each with a `.json` that says why
<root>/index/<target>.members      member indexes of zips: derived, never synced, made anew when in doubt
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from filingd.adapters.zipdirectory import read_members
from filingd.adapters.zipwalk import ZipRefusedError
from filingd.core.errors import StoreError
from filingd.core.layout import INDEX, QUARANTINE
from filingd.core.model import Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from filingd.adapters.disk import Disk
    from filingd.core.model import QuarantineRecord

_TARGET = re.compile(
    r"(?:[^/.\0][^/\0]*/)*[^/.\0][^/\0]*"
)  # parts that are not empty and do not begin with a dot
_INDEX_FORMAT = 1
_Row = tuple[str, int, int, int, int, int, str | None]
_Index = tuple[int, int, int, list[_Row]]  # format, size and mtime (ns) of the zip, rows


def check_target(target: str) -> None:
    """Whether a target stays within the store and is not one of the store's own hidden files.

    Raises:
        StoreError: it is absolute, climbs out, or has an empty or hidden part.
    """
    if _TARGET.fullmatch(target) is None:
        raise StoreError(f"{target!r} is not a place in a store: it must be relative, without hidden parts.")


class Layout:
    """Names below one root, and the files that only the store itself reads."""

    def __init__(self, root: Path, disk: Disk, *, mends_indexes: bool = True) -> None:
        self._mends_indexes = mends_indexes
        self.root = root
        self._disk = disk
        self._decoder = msgspec.msgpack.Decoder(_Index)

    def path(self, target: str) -> Path:
        """The path of a target.

        Raises:
            StoreError: the target is absolute, climbs out, or has a hidden part.
        """
        check_target(target)
        return self.root / target

    # ------------------------------------------------------------ member indexes

    def write_members(self, target: str, members: Iterable[Member]) -> None:
        """Write the member index of a published zip. It is derived: without room for it we do without it."""
        if not self._mends_indexes:
            return
        index = self._index_path(target)
        try:
            found = self.path(target).stat()
            rows = [
                (m.name, m.offset, m.packed_bytes, m.size_bytes, m.crc32, m.method, m.note) for m in members
            ]
            body = msgspec.msgpack.encode((_INDEX_FORMAT, found.st_size, found.st_mtime_ns, rows))
            index.parent.mkdir(parents=True, exist_ok=True)
            self._disk.replace_file(index, body, sync=False)
        except OSError:
            self._disk.remove_quietly(index)

    def read_members(self, target: str) -> Sequence[Member] | None:
        """The member index of a stored zip, made anew if need be; None if there is no readable zip."""
        try:
            found = self.path(target).stat()
        except FileNotFoundError:
            return None
        rows = self._fresh_rows(target, found)
        if rows is not None:
            return [Member(*row) for row in rows]
        return self._members_made_anew(target)

    def has_fresh_members(self, target: str) -> bool:
        """Whether the member index is there and of the file as it is now."""
        return self._fresh_rows(target, self.path(target).stat()) is not None

    def drop_members(self, target: str) -> None:
        """The file it describes is gone."""
        self._disk.remove_quietly(self._index_path(target))

    def _fresh_rows(self, target: str, found: os.stat_result) -> list[_Row] | None:
        try:
            written, size_bytes, mtime_ns, rows = self._decoder.decode(self._index_path(target).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        current = (_INDEX_FORMAT, found.st_size, found.st_mtime_ns)
        return rows if (written, size_bytes, mtime_ns) == current else None

    def _members_made_anew(self, target: str) -> Sequence[Member] | None:
        fd = os.open(self.path(target), os.O_RDONLY | os.O_CLOEXEC)
        try:
            members = read_members(lambda at, count: os.pread(fd, count, at), os.fstat(fd).st_size)
        except ZipRefusedError:
            return None
        finally:
            os.close(fd)
        self.write_members(target, members)
        return members

    def _index_path(self, target: str) -> Path:
        path = self.path(target).relative_to(self.root)
        return self.root / INDEX / path.with_name(f"{path.name}.members")

    # ------------------------------------------------------------ quarantine

    def quarantine(self, source: Path, target: str, record: QuarantineRecord) -> str:
        """Move a file to quarantine with its record; returns where, relative to the root."""
        place = self._free_quarantine_place(target, record)
        self._disk.make_folder(place.parent, self.root)
        self._disk.replace_file(place.with_name(f"{place.name}.json"), _record_json(record), sync=True)
        self._disk.move(source, place)
        return place.relative_to(self.root).as_posix()

    def _free_quarantine_place(self, target: str, record: QuarantineRecord) -> Path:
        when = datetime.fromtimestamp(record.refused_at, UTC).strftime("%Y%m%dT%H%M%SZ")
        path = self.path(target).relative_to(self.root)
        folder = self.root / QUARANTINE / path.parent
        names = (f"{path.name}.{when}{suffix}" for suffix in _suffixes())
        return next(place for place in map(folder.joinpath, names) if not place.exists())

    # ------------------------------------------------------------ listings

    def files(self, prefix: str) -> list[str]:
        """Published files below a folder, relative to the root, sorted; indexes and quarantine only on request."""
        top = self.path(prefix) if prefix.strip("/") else self.root
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in self._walk(top)
            if not path.name.startswith(".")
        )

    def staging_files(self) -> list[tuple[Path, str | None]]:
        """Every staging file, with the target it could be resumed for (None: it cannot be)."""
        return [
            (path, self._resumable_target(path))
            for path in self._walk(self.root)
            if path.name.startswith(".")
        ]

    def _resumable_target(self, path: Path) -> str | None:
        name = path.name.removeprefix(".").removesuffix(".json")
        if not name.endswith(".part"):
            return None
        return path.with_name(name.removesuffix(".part")).relative_to(self.root).as_posix()

    def _walk(self, top: Path) -> Iterator[Path]:
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not self._is_private(top, folder, name)]
            for name in names:
                yield top.joinpath(folder, name)

    def _is_private(self, top: Path, folder: str, name: str) -> bool:
        at_root = top == self.root and folder == str(self.root)
        return name.startswith(".") or (at_root and name in (INDEX, QUARANTINE))


def _suffixes() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1


def _record_json(record: QuarantineRecord) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
