"""What the machine refuses and no part of filingd is to blame for, in words."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from filingd.core.errors import ExitCode, FilingdError, StoreError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


class OpenFilesError(UnavailableError):
    """This process, or the whole machine, may open no more files."""


def fault_of_the_machine(error: BaseException) -> FilingdError | None:
    """The error to tell instead, if a limit of open files, a file that this user may not use, or an argument that is no text is
    at the bottom of this one."""
    for cause in _causes(error):
        if (
            isinstance(cause, PermissionError)
            and cause.filename is not None
            and not isinstance(error, FilingdError)
        ):
            return _not_permitted(cause)
        if isinstance(cause, UnicodeEncodeError) and not isinstance(error, FilingdError):
            return NotTextError("An argument is no valid UTF-8. Write it in UTF-8.")
        # The loader of extension modules keeps no errno, only its words.
        if isinstance(cause, OSError) and cause.errno in _TOO_MANY_OPEN:
            return _machine_wide() if cause.errno == errno.ENFILE else _of_this_process()
        if isinstance(cause, ImportError) and "Too many open files" in str(cause):
            return _of_this_process()
    return None


class NotTextError(FilingdError):
    """Something on the command line is no text."""

    exit_code = ExitCode.USAGE


def _not_permitted(error: PermissionError) -> StoreError:
    return StoreError(
        f"{os.fsdecode(error.filename)} may not be used by this user ({error.strerror}). Be the user that filingd runs as, or "
        "check owner and mode of the file and of the folders above it."
    )


def _of_this_process() -> OpenFilesError:
    limit = os.sysconf("SC_OPEN_MAX")  # no import may be needed here: none would succeed
    return OpenFilesError(
        f"This process may have no more than {limit:,} files open, and needs more. Raise the limit: `ulimit -n 1024` in "
        "the shell, or LimitNOFILE=1024 in the systemd unit."
    )


def _machine_wide() -> OpenFilesError:
    return OpenFilesError(
        "This machine has as many files open as it allows altogether. Find who opens so many (`lsof`), or raise "
        "fs.file-max with `sysctl`."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
