"""What the machine refuses and no part of filingd is to blame for, in words."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from filingd.core.errors import FilingdError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


class OpenFilesError(UnavailableError):
    """This process, or the whole machine, may open no more files."""


def fault_of_the_machine(error: BaseException) -> FilingdError | None:
    """The error to tell instead, if a limit of open files is at the bottom of this one."""
    for cause in _causes(error):
        # The loader of extension modules keeps no errno, only its words.
        if isinstance(cause, OSError) and cause.errno in _TOO_MANY_OPEN:
            return _machine_wide() if cause.errno == errno.ENFILE else _of_this_process()
        if isinstance(cause, ImportError) and "Too many open files" in str(cause):
            return _of_this_process()
    return None


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
