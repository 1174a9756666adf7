"""The one place that ends the process."""

from __future__ import annotations

import os
import sys

_STDERR = 2
PRIVATE_UMASK = 0o027  # filings name persons: what is written is for its owner and group


def main() -> None:
    """Run the command line and exit with its code."""
    _open_standard_streams()
    os.umask(os.umask(PRIVATE_UMASK) | PRIVATE_UMASK)
    from filingd.cli.output import end_standard_output, guard_standard_output
    from filingd.cli.root import run

    guard_standard_output()
    code = run(sys.argv[1:])
    end_standard_output()
    sys.exit(code)


def _open_standard_streams() -> None:
    """Somebody may have closed them: then a socket or the store's own file would take their numbers."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= _STDERR:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


if __name__ == "__main__":
    main()
