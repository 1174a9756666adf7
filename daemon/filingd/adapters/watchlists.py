"""The folder of watchlists: read by the daemon when something in it changed, edited by commands beside it.

A list is a file `NAME.csv`. Whoever edits one takes the lock of the folder, so that two commands at once lose nothing, and
exchanges the file by rename, so that nobody ever reads half a list.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from filingd.adapters.disk import Disk, Syscalls, disk_errors, temporary_of
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.watchlist import (
    Entry,
    Finding,
    Reading,
    gathered,
    lines_of,
    with_entries,
    without_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.core.watchlist import Terms

    PlainNumber = Callable[[str], str]

EXTENSION = ".csv"
_MOST_FINDINGS = 20
_LARGEST_LIST_BYTES = 256 * 1024 * 1024
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_UNREADABLE = "It cannot be read ({why}). {remedy} {meanwhile}"
_AS_READ_LAST = "Until then it counts as it was read last."
_NEVER_READ = "It was not read since the start: until then nobody is taken out of what is followed."
_EMPTIED = (
    "It is another folder than before and has no lists. Bring them back, or leave one that is empty to follow nobody. Until then "
    "they count as they were read last."
)

_Signature = tuple[tuple[str, int, int, int, int], ...]  # name, size, inode, when content and rights changed


class _List(NamedTuple):
    """One list as it was read: its numbers, and what is wrong with it. `was_read` is False if it never could be."""

    numbers: tuple[str, ...]
    findings: tuple[str, ...]
    finding_count: int
    was_read: bool = True


class _Look(NamedTuple):
    """What the folder looks like: a few calls, whatever the lists hold. `folder` tells it from another in the same place; None,
    with a `problem`, if it cannot be told."""

    signature: _Signature
    folder: tuple[int, int] | None = None
    problem: OSError | None = None


class WatchlistFolder:
    """The lists of one folder. Blocks: call it off the event loop."""

    def __init__(self, folder: Path, terms: Mapping[str, Terms], plain: PlainNumber, default: Terms) -> None:
        """`terms` by name of list; a list without has the default ones. `plain` brings a number into its plain form."""
        self._folder = folder
        self._terms = terms
        self._default = default
        self._plain = plain
        self._seen: _Look | None = None
        self._read_from: tuple[int, int] | None = None  # the folder that the lists were read from
        self._lists: dict[str, _List] = {}

    def editor(self) -> ListEditor:
        """For whoever changes single lists."""
        return ListEditor(self._folder, self._plain)

    def terms_of(self, name: str) -> Terms:
        """The terms of a list."""
        return self._terms.get(name, self._default)

    def look(self) -> Reading | None:
        """See `ports.Watchlists`."""
        found = self._look()
        if self._seen is not None and found[:2] == self._seen[:2]:
            return None
        self._seen = found
        if found.problem is not None:
            return self._reading(self._told(found.problem), is_complete=self._read_from is not None)
        if self._lists and not found.signature and found.folder != self._read_from:
            return self._reading(f"{self._folder}: {_EMPTIED}")
        is_first, self._read_from = self._read_from is None, found.folder
        self._lists = {name: self._read(name) for name in _names(found.signature)}
        return self._reading(is_complete=bool(self._lists) or not is_first)

    def _look(self) -> _Look:
        try:
            with _opened(self._folder) as folder, os.scandir(folder) as found:
                signature = tuple(sorted(_look_of(entry) for entry in found if _is_list(entry.name)))
                seen = os.fstat(folder)
                return _Look(signature, (seen.st_dev, seen.st_ino))
        except OSError as error:
            return _Look((("", error.errno or 0, 0, 0, 0),), problem=error)

    def _told(self, error: OSError) -> str | None:
        """What is wrong with the folder; nothing if there never was one."""
        if isinstance(error, FileNotFoundError) and not self._lists:
            return None
        meanwhile = _NEVER_READ if self._read_from is None else _AS_READ_LAST
        remedy = "Check that it is a folder and its permissions ([nbb] watchlists)."
        return f"{self._folder}: " + _told_unreadable(error, remedy, meanwhile)

    def _read(self, name: str) -> _List:
        path = self._folder / f"{name}{EXTENSION}"
        try:
            text = _text_of(path)
        except OSError as error:
            known = self._lists.get(name)
            was_read = known is not None and known.was_read
            meanwhile = _AS_READ_LAST if was_read else _NEVER_READ
            told = f"{path}: " + _told_unreadable(error, "Check its permissions.", meanwhile)
            return _List(known.numbers if known else (), (told,), 1, was_read)
        numbers: list[str] = []
        findings: list[str] = []
        count = 0
        for line in lines_of(text, self._plain):
            if isinstance(line, Entry):
                numbers.append(line.number)
                continue
            count += 1
            if len(findings) < _MOST_FINDINGS:
                findings.append(told_finding(path, line))
        return _List(tuple(numbers), tuple(findings), count)

    def _reading(self, problem: str | None = None, *, is_complete: bool = True) -> Reading:
        watched = gathered(
            (read.numbers, self._terms.get(name, self._default)) for name, read in self._lists.items()
        )
        unused = [
            f"The configuration has terms for a list that is not there: {self._folder / name}{EXTENSION}. "
            f"Make the file, or remove the section for {name}."
            for name in sorted(self._terms.keys() - self._lists.keys())
        ]
        own = [problem] if problem else unused
        findings = [*own, *(text for read in self._lists.values() for text in read.findings)]
        return Reading(
            watched,
            {name: len(read.numbers) for name, read in self._lists.items()},
            tuple(findings[:_MOST_FINDINGS]),
            len(own) + sum(read.finding_count for read in self._lists.values()),
            is_complete and all(read.was_read for read in self._lists.values()),
        )


class WatchlistFiles:
    """`ports.Watchlists` over a folder."""

    def __init__(self, folder: WatchlistFolder) -> None:
        self._folder = folder

    async def look(self) -> Reading | None:
        return await asyncio.to_thread(self._folder.look)


def told_finding(path: Path, finding: Finding) -> str:
    """What is wrong with a line, for people."""
    value = f": {finding.value}" if finding.value else ""
    return f"{path}, line {finding.line}{value}: {finding.text}"


# ------------------------------------------------------------------------------------------------- commands


class ListEditor:
    """Reads and edits single lists, by name. `plain` brings a number into its plain form."""

    def __init__(self, folder: Path, plain: PlainNumber) -> None:
        self._folder = folder
        self._plain = plain
        self._disk = Disk(Syscalls())

    def names(self) -> list[str]:
        """The lists that are there."""
        with disk_errors("list", self._folder), suppress(FileNotFoundError):
            return sorted(_stem(found.name) for found in self._folder.iterdir() if _is_list(found.name))
        return []

    def path(self, name: str) -> Path:
        """The file of a list."""
        return self._folder / f"{name}{EXTENSION}"

    def lines(self, name: str) -> list[Entry | Finding]:
        """The lines of a list; none if there is no such list.

        Raises:
            DiskFaultError: it cannot be read.
        """
        return list(lines_of(self._text(name), self._plain))

    def add(self, name: str, entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
        """Add companies to a list, which is made if it is not there: the numbers that are new, and those that were there.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; the list is as it was.
        """
        with self._alone():
            text, added, known = with_entries(self._text(name), entries, self._plain)
            if added:
                self._exchange(name, text)
        return added, known

    def remove(self, name: str, numbers: Sequence[str]) -> list[str]:
        """Remove companies from a list: those that were in it.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; the list is as it was.
        """
        with self._alone():
            text, removed, _ = without_numbers(self._text(name), numbers, self._plain)
            if removed:
                self._exchange(name, text)
        return removed

    def _text(self, name: str) -> str:
        with disk_errors("read", self.path(name)), suppress(FileNotFoundError):
            return _text_of(self.path(name))
        return ""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with disk_errors("make the folder", self._folder):
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            folder = os.open(self._folder, _FOLDER_FLAGS)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _exchange(self, name: str, text: str) -> None:
        """Give the list its new content; it stays whose it was, so that the daemon can read it whoever edits it."""
        path = self.path(name).resolve()  # a list may be a link to a file elsewhere
        with disk_errors("write", path):
            like, mode = _whose(path)
            temporary = temporary_of(path)
            self._disk.write_file(temporary, text.encode("utf-8", "surrogateescape"), sync=True)
            try:
                temporary.chmod(mode)
                with suppress(PermissionError):  # only root may give files away, and only root has to
                    os.chown(temporary, like.st_uid, like.st_gid)
                self._disk.syscalls.rename(temporary, path)
            except OSError:
                self._disk.remove_quietly(temporary)
                raise
            self._disk.sync_folder(path.parent)


def _whose(path: Path) -> tuple[os.stat_result, int]:
    """Whose a list is to be, and its rights: as before, or as the folder's if it is new."""
    try:
        there = path.stat()
        return there, stat.S_IMODE(there.st_mode)
    except FileNotFoundError:
        folder = path.parent.stat()
        return folder, stat.S_IMODE(folder.st_mode) & 0o666


# ------------------------------------------------------------------------------------------------- files


def _text_of(path: Path) -> str:
    """The text of a list; bytes that are no UTF-8 come through an edit unchanged."""
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is no file")
        data = file.read(_LARGEST_LIST_BYTES + 1)
    if len(data) > _LARGEST_LIST_BYTES:
        raise OSError(0, "it is larger than 256 MiB")
    return data.decode("utf-8", "surrogateescape")


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A folder stays the same while it is looked at, whatever takes its place meanwhile."""
    opened = os.open(folder, _FOLDER_FLAGS)
    try:
        yield opened
    finally:
        os.close(opened)


def _open_without_waiting(path: str, flags: int) -> int:
    """A pipe would keep whoever opens it waiting for a writer."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _look_of(entry: os.DirEntry[str]) -> tuple[str, int, int, int, int]:
    try:
        seen = entry.stat()
    except OSError:  # a link that leads nowhere is found out when it is read
        return entry.name, -1, 0, 0, 0
    return entry.name, seen.st_size, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns


def _names(signature: _Signature) -> list[str]:
    return [_stem(name) for name, *_ in signature]


def _is_list(file_name: str) -> bool:
    return file_name.endswith(EXTENSION) and not file_name.startswith(".")


def _stem(file_name: str) -> str:
    return file_name.removesuffix(EXTENSION)


def _told_unreadable(error: OSError, remedy: str, meanwhile: str) -> str:
    return _UNREADABLE.format(why=error.strerror, remedy=remedy, meanwhile=meanwhile)


__all__ = [
    "DiskFaultError",
    "DiskFullError",
    "ListEditor",
    "WatchlistFiles",
    "WatchlistFolder",
    "told_finding",
]
