"""Looks at the machine for `filingd doctor`: store, manifest, log, time zone data. Changes nothing that stays."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import zoneinfo
from pathlib import Path
from typing import TYPE_CHECKING

from filingd.adapters.disk import Disk, Syscalls
from filingd.adapters.lock import LOCK_NAME, lock_holder
from filingd.adapters.manifest_schema import MIGRATIONS, open_read_only
from filingd.core.checkup import Finding, ok, problem, remark, skipped
from filingd.core.errors import DiskFaultError, FilingdError, ManifestDamagedError, ManifestTooNewError
from filingd.core.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBE_NAME = f".doctor-{os.getpid()}"


# ------------------------------------------------------------------------------------------ store


def store_findings(store: Path, keep_free_bytes: int) -> Iterator[Finding]:
    """The folder of the store: there, whose, for whom, with how much room, and whether it can be written durably."""
    try:
        found = store.stat()
    except FileNotFoundError:
        yield from _absent_store(store)
        return
    except OSError as error:
        yield problem(
            "store", str(store), f"it cannot be looked at: {error.strerror}", "Let filingd's user into it."
        )
        return
    if not stat.S_ISDIR(found.st_mode):
        yield problem("store", str(store), "it is no folder", "Name a folder as [store] path.")
        return
    yield _ownership(store, found)
    yield _openness(store, found)
    yield _room(store, keep_free_bytes)
    yield _durable_write(store)


def _absent_store(store: Path) -> Iterator[Finding]:
    parent = next(folder for folder in store.absolute().parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        yield ok("store", str(store), "it is not there yet; the first run makes it")
    else:
        detail = f"it is not there, and {_user(os.geteuid())} may not make it in {parent}"
        yield problem(
            "store", str(store), detail, f"Run: install -d -m 0750 -o {_user(os.geteuid())} {store}"
        )


def _ownership(store: Path, found: os.stat_result) -> Finding:
    owner, me = _user(found.st_uid), _user(os.geteuid())
    if found.st_uid == os.geteuid():
        return ok("owner", str(store), f"it belongs to {me}, who asks")
    detail = f"it belongs to {owner}, and {me} asks: what is found here of permissions holds for {me}"
    return remark("owner", str(store), detail, f"Ask as {owner} as well, if filingd runs as that user.")


def _openness(store: Path, found: os.stat_result) -> Finding:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o007:
        detail = f"everybody on this machine may look into it (mode {mode:04o}); filings name persons"
        return remark("permissions", str(store), detail, f"Run: chmod o-rwx {store}")
    return ok("permissions", str(store), f"only its owner and group may look into it (mode {mode:04o})")


def _room(store: Path, keep_free_bytes: int) -> Finding:
    found = os.statvfs(store)
    free_bytes = found.f_bavail * found.f_frsize
    detail = f"{free_bytes / 1e9:,.1f} GB are free, {format_size(keep_free_bytes)} are to stay free"
    if free_bytes < keep_free_bytes:
        return problem(
            "disk", str(store), f"{detail}: downloads pause", "Make room, or lower [store] keep_free."
        )
    return ok("disk", str(store), detail)


def _durable_write(store: Path) -> Finding:
    """What publishing does: write, sync, rename, sync the folder."""
    disk, path = Disk(Syscalls()), store / _PROBE_NAME
    try:
        try:
            disk.replace_file(path, b"filingd doctor\n", sync=True)
        finally:
            disk.remove_quietly(path)
    except OSError as error:
        remedy = "Check the permissions of the folder, its owner, and whether the file system is mounted read-only or full."
        return problem(
            "write",
            str(store),
            f"a file cannot be written, synced and renamed in it: {error.strerror}",
            remedy,
        )
    return ok("write", str(store), "a file was written, synced, renamed and removed in it")


# ------------------------------------------------------------------------------------------ daemon, manifest, log


def daemon_finding(store: Path) -> Finding:
    """Whether a daemon works on the store."""
    try:
        holder = lock_holder(store)
    except OSError as error:
        return skipped("daemon", str(store), f"the lock cannot be looked at: {error.strerror}")
    if holder is None:
        return ok("daemon", str(store), "nobody works on the store")
    return ok("daemon", str(store), f"{holder.purpose} works on it (pid {holder.pid} on {holder.host})")


def may_lock(store: Path) -> bool:
    """Whether taking the lock leaves nothing that its owner could not use: a lock file is there, or would be the owner's."""
    try:
        return (store / LOCK_NAME).exists() or is_ours(store)
    except OSError:
        return False


def is_ours(folder: Path) -> bool:
    """Whether what we make in a folder is its owner's; not where there is none."""
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def manifest_finding(path: Path) -> Finding:
    """Whether the manifest can be read, and its format."""
    if not path.exists():
        return ok("manifest", str(path), "it is not there yet; the first run makes it")
    try:
        open_read_only(path).close()
    except (ManifestTooNewError, ManifestDamagedError, DiskFaultError) as error:
        return problem("manifest", str(path), "it cannot be used", str(error))
    except FilingdError as error:  # an older format, which the next start brings forward
        return remark("manifest", str(path), "it is of an older format", str(error))
    return ok("manifest", str(path), f"it can be read, its format is {len(MIGRATIONS)}")


def log_finding(path: Path | None) -> Finding:
    """Whether lines can be appended to the status log."""
    if path is None:
        return ok("log", "standard output", "the status log goes to standard output")
    remedy = f"Let filingd's user write there, or choose another [log] path. See: ls -ld {path.parent}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return _new_log(path, remedy)
    except OSError as error:
        return problem("log", str(path), f"it cannot be written: {error.strerror}", remedy)
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    if not is_file:
        return problem(
            "log", str(path), "it is no file", 'Name a file as [log] path, or "-" for standard output.'
        )
    return ok("log", str(path), "lines can be appended to it")


def _new_log(path: Path, remedy: str) -> Finding:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return ok("log", str(path), "it is not there yet; the first run makes it")
    return problem("log", str(path), f"it is not there and cannot be made in {folder}", remedy)


# ------------------------------------------------------------------------------------------ time zones, names


def zone_finding(name: str) -> Finding:
    """Where the data of the time zone come from."""
    for folder in zoneinfo.TZPATH:
        if Path(folder, name).is_file():
            return ok("time zone", name, f"the system has it, in {folder}")
    try:
        from importlib.metadata import version

        zoneinfo.ZoneInfo(name)
        return ok("time zone", name, f"the package tzdata {version('tzdata')} has it")
    except Exception:  # noqa: BLE001 - no data, or a package that is damaged: the remedy is the same
        return problem(
            "time zone",
            name,
            "nobody has its data",
            "Install tzdata: apt-get install tzdata, or pip install tzdata",
        )


def name_finding(host: str, *, is_proxy: bool) -> Finding:
    """Whether the name of a host can be resolved."""
    what = f"{host} (the proxy)" if is_proxy else host
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
    except OSError as error:
        remedy = "Check /etc/resolv.conf, and [http] proxy if this machine goes through one."
        return problem("network", what, f"the name cannot be resolved: {error.strerror or error}", remedy)
    return ok("network", what, f"the name can be resolved ({len(found)} addresses)")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
