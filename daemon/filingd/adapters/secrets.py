"""Keys: read from where the configuration says they are, held in memory, never printed.

A reference is `credential:NAME` (a file of that name in the folder systemd names in $CREDENTIALS_DIRECTORY), `env:NAME`,
`file:PATH`, or `public:NAME` for one that a registry gives to everybody. The text of a reference may be shown to anybody; the
key behind it to nobody.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from filingd.core.errors import ConfigError
from filingd.core.keys import KeyReading
from filingd.core.redaction import SHORTEST_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_KEY = 4096
_Look = tuple[
    int, int, int, int, int
]  # device, inode, size, and when its content and its rights were changed


class KeyUnreadableError(ConfigError):
    """A key cannot be read from where the configuration says it is. The text names place and remedy."""


class Keyring:
    """The keys behind a set of references.

    Keys are read when the ring is made and by `refresh`; `is_outdated` looks at the files. All three touch the disk: call
    them off the event loop. `value` and `values` only look up.
    """

    __slots__ = ("_environment", "_keys", "_looks", "_problems", "_published", "_references", "_seen")

    def __init__(
        self,
        references: Iterable[str],
        environment: Mapping[str, str] | None = None,
        published: Mapping[str, str] | None = None,
    ) -> None:
        """`published` has the keys that registries give to everybody, by name."""
        self._published = published or {}
        self._references = tuple(dict.fromkeys(references))
        self._environment = os.environ if environment is None else environment
        self._keys: dict[str, str] = {}
        self._problems: dict[str, str] = {}
        self._seen: frozenset[str] = frozenset()
        self._looks: tuple[_Look | None, ...] = ()
        self.refresh()

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._references)})"

    def value(self, reference: str) -> str:
        """The key behind a reference.

        Raises:
            KeyUnreadableError: it could never be read, or is not in this ring.
        """
        if reference in self._keys:
            return self._keys[reference]
        raise KeyUnreadableError(self._problems.get(reference, f"{reference} is not in the configuration."))

    def values(self) -> frozenset[str]:
        """Every key this ring ever held, for redaction: a key that was replaced is still a key."""
        return self._seen

    def problems(self) -> Mapping[str, str]:
        """For each reference whose key could not be read when the ring was last refreshed: why, and what to do."""
        return dict(self._problems)

    def is_outdated(self) -> bool:
        """Whether a file of a key is another one, or was touched, since the keys were last read."""
        return self._looks != self._look()

    def refresh(self) -> KeyReading:
        """Read every key again. One that cannot be read any more stays as it was: a file that is being exchanged, or
        was spoilt by mistake, must not cost a key that works."""
        looks = self._look()  # before reading: what changes meanwhile shows at the next look
        keys, problems = dict(self._keys), {}
        for reference in self._references:
            try:
                keys[reference] = read_key(reference, self._environment, self._published)
            except KeyUnreadableError as error:
                problems[reference] = str(error)
        changed = frozenset(reference for reference in keys if keys[reference] != self._keys.get(reference))
        self._keys, self._problems, self._looks = keys, problems, looks
        self._seen |= frozenset(keys.values())
        return KeyReading(changed, problems, frozenset(problems) & keys.keys())

    def _look(self) -> tuple[_Look | None, ...]:
        return tuple(_look_at(_path_of(reference, self._environment)) for reference in self._references)


class KeyFiles:
    """See `ports.Keys`: a ring, looked at and refreshed off the event loop."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring

    async def are_outdated(self) -> bool:
        return await asyncio.to_thread(self._ring.is_outdated)

    async def read(self) -> KeyReading:
        return await asyncio.to_thread(self._ring.refresh)


def _path_of(reference: str, environment: Mapping[str, str]) -> Path | None:
    """Where the file of a key lies, if it is in one. Asked for each time: systemd may exchange the folder."""
    source, _, name = reference.partition(":")
    if source == "file":
        return Path(name)
    folder = environment.get("CREDENTIALS_DIRECTORY")
    return Path(folder) / name if source == "credential" and folder else None


def _look_at(path: Path | None) -> _Look | None:
    """What tells a file from the one that was there before, behind all links; None if there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read_key(
    reference: str, environment: Mapping[str, str], published: Mapping[str, str] | None = None
) -> str:
    """The key behind one reference, without surrounding white space.

    Raises:
        KeyUnreadableError: it is not there, empty, no sane key, or everybody may read it.
    """
    source, _, name = reference.partition(":")
    if source == "env":
        return _checked(_from_environment(name, environment), reference)
    if source == "file":
        return _checked(_from_file(Path(name), reference, private=True), reference)
    if source == "credential":
        return _checked(_from_credential(name, reference, environment), reference)
    if source == "public":
        return _from_published(name, published or {})
    raise KeyUnreadableError('A reference to a key starts with "credential:", "env:" or "file:".')


def _from_published(name: str, published: Mapping[str, str]) -> str:
    if name not in published:
        known = ", ".join(f"public:{each}" for each in published) or "none"
        raise KeyUnreadableError(f"public:{name}: there is no such public key. There are: {known}.")
    return published[name]


def _from_environment(name: str, environment: Mapping[str, str]) -> str:
    if name not in environment:
        raise KeyUnreadableError(
            f"env:{name}: the environment has no variable of that name. Set it where filingd is started."
        )
    return environment[name]


def _from_credential(name: str, reference: str, environment: Mapping[str, str]) -> str:
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise KeyUnreadableError(
            f"{reference}: $CREDENTIALS_DIRECTORY is not set, so systemd gave no credentials. "
            f"Add LoadCredential={name}:/path/of/the/key to the unit, or use file:PATH or env:NAME."
        )
    return _from_file(Path(folder) / name, reference, private=False)


def _from_file(path: Path, reference: str, *, private: bool) -> str:
    """The text of a key file. systemd guards its own folder, so only other files have to be private."""
    try:
        # Without waiting: a pipe in place of the file would hold up the start for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            mode = os.fstat(descriptor).st_mode
            # Nothing is read of what is no file: a pipe would be robbed of a key that somebody else waits for.
            data = os.read(descriptor, _LONGEST_KEY + 1) if stat.S_ISREG(mode) else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise KeyUnreadableError(f"{reference}: {path} does not exist. Put the key there.") from None
    except OSError as error:
        raise KeyUnreadableError(
            f"{reference}: {path} cannot be read: {error.strerror}. Let the user of filingd read it."
        ) from None
    if not stat.S_ISREG(mode):
        raise KeyUnreadableError(f"{reference}: {path} is no file. Put the key into a file of its own.")
    if private and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise KeyUnreadableError(f"{reference}: everybody may read or change {path}. Run: chmod o-rwx {path}")
    return data.decode("utf-8-sig", "replace")


def _checked(text: str, reference: str) -> str:
    key = text.strip()
    if not key:
        raise KeyUnreadableError(f"{reference}: the key is empty. Put the key there.")
    if not SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise KeyUnreadableError(
            f"{reference}: {len(key)} characters cannot be a key. Put the key there, and nothing else."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise KeyUnreadableError(
            f"{reference}: a key has no blanks, line breaks or special characters. Put one key there, alone."
        )
    return key
