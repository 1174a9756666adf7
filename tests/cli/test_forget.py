"""`filingd forget`, as a process on a store that a real daemon mirrored: what it asks, says and refuses."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from filingd.adapters.lock import StoreLock
from filingd.adapters.manifest_commands import ManifestReader, ManifestWriter
from filingd.core.forgetting import FORGOTTEN_REASON
from filingd.core.model import Change, Item, State
from support import kvk
from support.daemon import member_digests
from support.mirror import INSTANT, Mirror, Said, filingd, mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filingd.core.tombstones import Tombstone

pytestmark = pytest.mark.slow
DAY = "2026-11-18"
NOT_HELD = "2019-00000001"
OF_BOTH = "400000581"  # an enterprise number without its zero, and an RSIN


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    yield from mirrors(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def mirror(filled: Mirror, tmp_path: Path) -> Mirror:
    return filled.copy(tmp_path / "copy")


def a_reference(mirror: Mirror) -> str:
    return min(mirror.store.member_digests(DAY, "xbrl")).removesuffix(".xbrl")


def buried(mirror: Mirror) -> list[Tombstone]:
    with ManifestReader(mirror.store.root / "manifest.db") as reader:
        return list(reader.tombstones())


def bodies(mirror: Mirror) -> dict[str, dict[str, str]]:
    return {str(path): member_digests(path) for path in mirror.store.published()}


def listed(mirror: Mirror, *options: str) -> Said:
    return filingd("forget", "--list", *options, "--config", str(mirror.config.path))


def test_it_says_what_it_did_and_what_it_did_not(mirror: Mirror) -> None:
    reference = a_reference(mirror)
    said = mirror.run("forget", reference, "--reason", "order 7")
    assert said.code == 0, said.err
    assert said.out.splitlines()[0] == f"{reference}: forgotten"
    assert "files written anew without it" in said.out
    assert f"nbb/authentic/{DAY}/references" in said.out
    assert "Not covered: copies made elsewhere" in said.out
    (tombstone,) = buried(mirror)
    assert (tombstone.subject, tombstone.is_enterprise, tombstone.reason) == (reference, False, "order 7")
    assert tombstone.erased_at is not None
    assert mirror.store.seal(DAY)["items"]["xbrl"]["forgotten"] == 1
    assert reference in listed(mirror).out
    assert listed(mirror, "--json").json["forgotten"][0]["subject"] == reference
    assert mirror.run("verify", "--json").json["sound"]


def test_a_dry_run_says_what_would_go_and_changes_nothing(mirror: Mirror) -> None:
    before = bodies(mirror)
    said = mirror.run("forget", a_reference(mirror), "--dry-run")
    assert said.code == 0, said.err
    assert said.out.splitlines()[0].endswith(": this would go")
    assert (bodies(mirror), buried(mirror)) == (before, [])
    assert not (mirror.store.root / "forgotten.jsonl").exists()


def test_what_is_not_held_is_buried_all_the_same(mirror: Mirror) -> None:
    said = mirror.run("forget", NOT_HELD, "BE 0403.101.811", "--reason", "order 7")
    assert said.code == 0, said.err
    assert "nothing of it is held; if it comes, it is not stored" in said.out
    assert [one.subject for one in buried(mirror)] == ["0403101811", NOT_HELD]
    assert mirror.run("forget", NOT_HELD, "--reason", "again").code == 0
    assert [one.reason for one in buried(mirror)] == ["order 7", "order 7"]


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (("ACME", "--reason", "x"), 1, "'ACME' can be nothing"),
        (("0403.101.812", "--reason", "x"), 1, "check the others"),
        ((NOT_HELD,), 2, "Say why with --reason"),
        ((), 2, "Name at least one"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_buried(
    mirror: Mirror, given: tuple[str, ...], code: int, told: str
) -> None:
    said = mirror.run("forget", *given)
    assert said.code == code
    assert told in said.err
    assert buried(mirror) == []


def test_a_number_of_several_registries_has_to_say_which_is_meant(mirror: Mirror) -> None:
    accounts = {"main": {"budget_per_month_eur": 1.0}}
    mirror.config.change(kvk.section("http://127.0.0.1:9/api", watch={}, accounts=accounts)).write()
    said = mirror.run("forget", OF_BOTH, "--reason", "order 7")
    assert said.code == 2, said.err
    assert (
        f"{OF_BOTH} means something in several registries. Write nbb:{OF_BOTH} or kvk:{OF_BOTH}." in said.err
    )
    assert buried(mirror) == []
    assert mirror.run("forget", f"kvk:{OF_BOTH}", f"nbb:{OF_BOTH}", "--reason", "order 7").code == 0
    assert [one.subject for one in buried(mirror)] == [f"0{OF_BOTH}", OF_BOTH]


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_on_a_terminal_it_shows_what_would_go_and_asks(mirror: Mirror, answer: str, code: int) -> None:
    before, (ours, its) = bodies(mirror), pty.openpty()
    command = [
        sys.executable, "-m", "filingd", "forget", a_reference(mirror), "--reason", "order 7",
        "--config", str(mirror.config.path), "--rehearse-at", INSTANT,
    ]  # fmt: skip
    environment = {**os.environ, **mirror.config.environment()}
    with subprocess.Popen(
        command, stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        os.write(ours, answer.encode())
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(its)
    assert process.returncode == code, err
    assert "this would go" in out
    assert "Delete all of this for good?" in out
    assert (bodies(mirror) == before, buried(mirror) == []) == (code == 1, code == 1)


def test_it_waits_for_whoever_has_the_store_and_says_so_when_it_waited_long_enough(mirror: Mirror) -> None:
    reference, before = a_reference(mirror), bodies(mirror)
    with StoreLock(mirror.store.root, started_at=time.time(), purpose="filingd run"):
        said = mirror.run("forget", reference, "--reason", "order 7", "--wait", "300 ms")
    assert said.code == 1
    assert "filingd run (pid" in said.err
    assert "has not erased all of it yet" in said.out
    assert "NOT ERASED YET" in listed(mirror).out
    assert bodies(mirror) == before
    assert mirror.daemon(until="idle").start().wait().code == 0
    assert "NOT ERASED YET" not in listed(mirror).out
    assert bodies(mirror) != before


def test_a_line_that_nobody_understands_stops_everything_that_could_undo_it(mirror: Mirror) -> None:
    (mirror.store.root / "forgotten.jsonl").write_text("2019-00000001\n")
    ended = mirror.daemon(until="idle").start().wait()
    for code, err in (
        (ended.code, ended.stderr),
        *((said.code, said.err) for said in (
            mirror.run("forget", NOT_HELD, "--reason", "x"), mirror.run("manifest", "rebuild"),
        )),
    ):  # fmt: skip
        assert code == 4, err
        assert "forgotten.jsonl, line 1, is no tombstone" in err


def test_trying_again_what_is_forgotten_does_nothing_and_says_why(mirror: Mirror) -> None:
    key = f"nbb/documents/{NOT_HELD}/json"
    item = Item(key, "nbb/authentic-query", State.ABSENT, due_at=None, reason=FORGOTTEN_REASON)
    with ManifestWriter(mirror.store.root / "manifest.db", clock_now=time.time) as writer:
        writer.record([Change(None, item)])
    said = mirror.run("items", "retry", key)
    assert said.code == 0
    assert f"{key}  left alone: it was forgotten (`filingd forget --list`)" in said.out
    assert mirror.store.items()[key].state == "absent"
