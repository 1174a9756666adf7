"""Reads on in the feed of a manifest, whichever file has its name just then: synchronous, read only, cheap when idle.

`filingd manifest rebuild` puts another file in the place of the manifest; a daemon that starts makes the side files that a
database nobody has open may lack. Either shows by name and inode, and then the file is opened again: the numbers go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filingd.adapters.manifest_reader import ManifestReader
from filingd.adapters.manifest_schema import SIDE_FILES
from filingd.core.errors import FilingdError, ManifestTooNewError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from filingd.core.feed import FeedEvent
    from filingd.core.model import Version

_LOG_ENDING = SIDE_FILES[0]
# A manifest that is being begun cannot be read for a moment; one that stays so is told.
MOST_FAILED_LOOKS = 50


class FeedPlaceError(FilingdError):
    """The feed does not reach as far as a consumer says it has read."""


class Told(NamedTuple):
    """An event, and the version it speaks of, if it speaks of one that is still known."""

    event: FeedEvent
    version: Version | None


class _Sight(NamedTuple):
    """What lies under the name of the manifest: device and inode, and whether there is a write-ahead log."""

    file: tuple[int, int]
    has_log: bool


_NOTHING = _Sight((0, 0), has_log=False)


class FeedFollower:
    """The feed of one manifest. Close it, or use `with`.

    Raises (on making it, and by every method):
        StoreError: there is no manifest, or it must be brought forward first.
        ManifestTooNewError, ManifestDamagedError, ManifestBusyError, DiskFaultError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed_looks = 0
        self._reader: ManifestReader | None = None
        self._sight = _NOTHING
        self._data_version = 0
        self._open(self._seen())

    def require_reached(self, seq: int) -> None:
        """Whether the feed has an event with this number, or had.

        Raises:
            FeedPlaceError: its last number is smaller.
        """
        head = self._opened().feed_head()
        if seq > head:
            raise FeedPlaceError(
                f"The feed of {self._path} ends with event {head}: it has told no event {seq}. Either this place was kept for "
                "another store, or the manifest was put back from an older copy. `--since 0` tells everything that is there."
            )

    def read(self, after: int, limit: int) -> Sequence[Told]:
        """The next events, in order; none if that is all for now."""
        reader = self._opened()
        events = reader.feed(after, limit)
        versions = reader.numbered_versions((one.subject, one.version) for one in events if one.version)
        return [Told(one, versions.get((one.subject, one.version))) for one in events]

    def has_news(self) -> bool:
        """Whether anything may have been told since the last call.

        A manifest that is not there is waited for; one that cannot be read is, too, for some fifty calls.
        """
        try:
            is_news = self._look()
        except ManifestTooNewError:
            raise
        except FilingdError:
            self._failed_looks += 1
            if self._failed_looks > MOST_FAILED_LOOKS:
                raise
            return False
        self._failed_looks = 0
        return is_news

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self) -> bool:
        seen = self._seen()
        if seen is None:
            return False
        if self._reader is None or seen.file != self._sight.file or seen.has_log > self._sight.has_log:
            self._open(seen)
            return True
        version, before = self._reader.data_version(), self._data_version
        self._data_version = version
        return version != before

    def _open(self, seen: _Sight | None) -> None:
        # The name is looked at before it is opened: should it change in between, the next look opens it again.
        self.close()
        reader = ManifestReader(self._path)
        self._data_version = reader.data_version()
        self._reader, self._sight = reader, seen or _NOTHING

    def _opened(self) -> ManifestReader:
        if self._reader is None:
            raise StoreError(
                f"The manifest {self._path} cannot be read now. Check [store] path, then try again."
            )
        return self._reader

    def _seen(self) -> _Sight | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            from filingd.adapters.disk import translated

            raise translated(error, "look at", self._path) from error
        has_log = self._path.with_name(self._path.name + _LOG_ENDING).exists()
        return _Sight((found.st_dev, found.st_ino), has_log)
