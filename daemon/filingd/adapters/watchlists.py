"""The folder of watchlists: read by the daemon when something in it changed, edited by commands beside it.

A list is a file `NAME.csv`, a saved search a file `NAME.toml`.
Whoever edits one takes the lock of the folder, so that two commands at once lose nothing, and
exchanges the file by rename, so that nobody ever reads half a list.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import tomllib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from filingd.adapters.disk import Disk, Syscalls, disk_errors, temporary_of
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.redaction import redact_text
from filingd.core.watchlist import (
    Entry,
    Finding,
    Reading,
    SavedSearch,
    SearchError,
    gathered,
    lines_of,
    with_entries,
    without_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.core.watchlist import Search, Terms

    PlainNumber = Callable[[str], str]
    SearchOf = Callable[[Mapping[str, Any]], Search]
    Remark = Callable[[str], str | None]

EXTENSION = ".csv"
SEARCH_EXTENSION = ".toml"
_MOST_FINDINGS = 20
_LARGEST_LIST_BYTES = 256 * 1024 * 1024
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_UNREADABLE = "It cannot be read ({why}). {remedy} {meanwhile}"
_AS_READ_LAST = "Until then it counts as it was read last."
_NEVER_READ = "It was not read since the start: until then nobody is taken out of what is followed."
_NOT_USED = "Until then nothing is searched for it."
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


class _SearchFile(NamedTuple):
    """One saved search as it was read: what it is, if it can be used, and what is wrong with it."""

    search: Search | None
    finding: str | None = None


class _Look(NamedTuple):
    """What the folder looks like: a few calls, whatever the lists hold. `folder` tells it from another in the same place; None,
    with a `problem`, if it cannot be told."""

    signature: _Signature
    folder: tuple[int, int] | None = None
    problem: OSError | None = None


class WatchlistFolder:
    """The lists of one folder. Blocks: call it off the event loop."""

    def __init__(
        self,
        folder: Path,
        terms: Mapping[str, Terms],
        plain: PlainNumber,
        default: Terms,
        search_of: SearchOf | None = None,
        remark: Remark | None = None,
    ) -> None:
        """`terms` by name of list; a list without has the default ones. `plain` brings a number into its plain form, `search_of`
        makes a saved search of its TOML: without, such files are not looked at. `remark` says what is worth knowing of a number
        that can be used."""
        self._search_of = search_of
        self._remark = remark
        self._searches: dict[str, _SearchFile] = {}
        self._folder = folder
        self._terms = terms
        self._default = default
        self._plain = plain
        self._seen: _Look | None = None
        self._read_from: tuple[int, int] | None = None  # the folder that the lists were read from
        self._lists: dict[str, _List] = {}

    def editor(self) -> ListEditor:
        """For whoever changes single lists."""
        return ListEditor(self._folder, self._plain, self._search_of)

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
        if (self._lists or self._searches) and not found.signature and found.folder != self._read_from:
            return self._reading(f"{self._folder}: {_EMPTIED}")
        is_first, self._read_from = self._read_from is None, found.folder
        self._lists = {name: self._read(name) for name in _names(found.signature, EXTENSION)}
        self._searches = {name: self._read_search(name) for name in _names(found.signature, SEARCH_EXTENSION)}
        return self._reading(is_complete=bool(self._lists or self._searches) or not is_first)

    def _look(self) -> _Look:
        try:
            with _opened(self._folder) as folder, os.scandir(folder) as found:
                signature = tuple(sorted(_look_of(entry) for entry in found if self._is_ours(entry.name)))
                seen = os.fstat(folder)
                return _Look(signature, (seen.st_dev, seen.st_ino))
        except OSError as error:
            return _Look((("", error.errno or 0, 0, 0, 0),), problem=error)

    def _is_ours(self, file_name: str) -> bool:
        return _is(file_name, EXTENSION) or (self._search_of is not None and _is(file_name, SEARCH_EXTENSION))

    def _told(self, error: OSError) -> str | None:
        """What is wrong with the folder; nothing if there never was one."""
        if isinstance(error, FileNotFoundError) and not (self._lists or self._searches):
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
        for line in lines_of(text, self._plain, self._remark):
            if isinstance(line, Entry):
                numbers.append(line.number)
                continue
            count += 1
            if len(findings) < _MOST_FINDINGS:
                findings.append(told_finding(path, line))
        return _List(tuple(numbers), tuple(findings), count)

    def _read_search(self, name: str) -> _SearchFile:
        """A search that cannot be read, or is none, stays what it was."""
        assert self._search_of is not None, "otherwise its file is not looked at"
        path = self._folder / f"{name}{SEARCH_EXTENSION}"
        known = self._searches.get(name, _SearchFile(None)).search
        try:
            return _SearchFile(self._search_of(table_of(_text_of(path))))
        except OSError as error:
            told = _told_unreadable(error, "Check its permissions.", _AS_READ_LAST if known else _NEVER_READ)
        except SearchError as error:
            told = f"{error} {_AS_READ_LAST if known else _NOT_USED}"
        return _SearchFile(known, f"{path}: {told}")

    def _reading(self, problem: str | None = None, *, is_complete: bool = True) -> Reading:
        watched = gathered(
            (read.numbers, self._terms.get(name, self._default)) for name, read in self._lists.items()
        )
        unused = [
            f"The configuration has terms for a list that is not there: {self._folder / name}{EXTENSION}. "
            f"Make the file, or remove the section for {name}."
            for name in sorted(self._terms.keys() - self._lists.keys() - self._searches.keys())
        ]
        own = [problem] if problem else unused
        own += [each.finding for each in self._searches.values() if each.finding is not None]
        findings = [*own, *(text for read in self._lists.values() for text in read.findings)]
        return Reading(
            watched,
            {name: len(read.numbers) for name, read in self._lists.items()},
            tuple(findings[:_MOST_FINDINGS]),
            len(own) + sum(read.finding_count for read in self._lists.values()),
            is_complete
            and all(read.was_read for read in self._lists.values())
            and all(each.search is not None for each in self._searches.values()),
            {
                name: SavedSearch(each.search, self.terms_of(name))
                for name, each in self._searches.items()
                if each.search is not None
            },
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

    def __init__(self, folder: Path, plain: PlainNumber, search_of: SearchOf | None = None) -> None:
        self._folder = folder
        self._plain = plain
        self._search_of = search_of
        self._disk = Disk(Syscalls())

    def names(self) -> list[str]:
        """The lists that are there."""
        return self._names(EXTENSION)

    def searches(self) -> list[str]:
        """The saved searches that are there."""
        return self._names(SEARCH_EXTENSION) if self._search_of else []

    def _names(self, extension: str) -> list[str]:
        with disk_errors("list", self._folder), suppress(FileNotFoundError):
            found = (path.name for path in self._folder.iterdir())
            return sorted(name.removesuffix(extension) for name in found if _is(name, extension))
        return []

    def path(self, name: str) -> Path:
        """The file of a list."""
        return self._folder / f"{name}{EXTENSION}"

    def search_path(self, name: str) -> Path:
        """The file of a saved search."""
        return self._folder / f"{name}{SEARCH_EXTENSION}"

    def search(self, name: str) -> Search:
        """A saved search that is there.

        Raises:
            SearchError: it is none.
            DiskFaultError: it cannot be read.
        """
        with disk_errors("read", self.search_path(name)):
            return self.search_in(_text_of(self.search_path(name)))

    def search_in(self, text: str) -> Search:
        """The saved search that a text is.

        Raises:
            SearchError: it is none; the registry may know none at all.
        """
        if self._search_of is None:
            raise SearchError("This registry knows no searches.")
        return self._search_of(table_of(text))

    def save_search(self, name: str, text: str) -> bool:
        """Save a search, from its TOML; whether anything changed.

        Raises:
            SearchError: the text is none.
            DiskFullError, DiskFaultError: the disk refused; nothing changed.
        """
        self.search_in(text)
        path = self.search_path(name)
        with self._alone():
            with disk_errors("read", path), suppress(FileNotFoundError):
                if _text_of(path) == text:
                    return False
            self._exchange(path, text)
        return True

    def remove_search(self, name: str) -> bool:
        """Remove a saved search; whether it was there.

        Raises:
            DiskFaultError: the disk refused.
        """
        path = self.search_path(name)
        with self._alone(), disk_errors("remove", path), suppress(FileNotFoundError):
            path.unlink()
            self._disk.sync_folder(path.parent)
            return True
        return False

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
                self._exchange(self.path(name), text)
        return added, known

    def remove(self, name: str, numbers: Sequence[str]) -> list[str]:
        """Remove companies from a list: those that were in it.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; the list is as it was.
        """
        with self._alone():
            text, removed, _ = without_numbers(self._text(name), numbers, self._plain)
            if removed:
                self._exchange(self.path(name), text)
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

    def _exchange(self, path: Path, text: str) -> None:
        """Give the file its new content; it stays whose it was, so that the daemon can read it whoever edits it."""
        path = path.resolve()  # a list may be a link to a file elsewhere
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


def _names(signature: _Signature, extension: str) -> list[str]:
    return [name.removesuffix(extension) for name, *_ in signature if _is(name, extension)]


def _is(file_name: str, extension: str) -> bool:
    return file_name.endswith(extension) and not file_name.startswith(".")


def table_of(text: str) -> Mapping[str, Any]:
    """The table that a TOML text is.

    Raises:
        SearchError: it is no TOML; says where.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SearchError(f"This is not TOML: {redact_text(str(error))}. Correct it.") from None


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
