"""What is held of persons: never kept when it is shielded, forgotten by any of its numbers, and no key beside it."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from filingd.app import KILL_VARIABLE
from filingd.core import steps
from support.kvk import EVERY_PART, KEYS
from support.mirror import Said, filingd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from e2e.kvk_rig import KvkRig


pytestmark = pytest.mark.slow

ALL_PARTS = {"clients": {"parts": EVERY_PART, "refresh_interval": "30 d"}}
MAY_NAME_IT = ("forgotten.jsonl", "manifest.db", "log/", "catalogue.db", "alarms.json", "ledger.db")


def command(kvk: KvkRig, *given: str, environment: dict[str, str] | None = None) -> Said:
    """A command on this store, at the sandbox's present instant where it has one."""
    config = kvk.rig.config
    instant = dt.datetime.fromtimestamp(kvk.admin.clock(), dt.UTC).isoformat()
    at = ("--rehearse-at", instant) if given[0] in ("forget", "items", "manifest", "verify") else ()
    return filingd(
        *given, "--config", str(config.path), *at, environment={**config.environment(), **(environment or {})}
    )


def named(kvk: KvkRig, subjects: Iterable[str]) -> list[str]:
    """The files that hold any of these texts, in their bytes or in their names, but for those that have to."""
    needles = [subject.encode() for subject in subjects]
    found = []
    for path in sorted(kvk.store.root.rglob("*")):
        relative = path.relative_to(kvk.store.root).as_posix()
        if path.is_file() and not relative.startswith(MAY_NAME_IT):
            data = relative.encode() + b"\n" + path.read_bytes()
            found += [relative] if any(needle in data for needle in needles) else []
    return found


def branched(kvk: KvkRig) -> tuple[str, list[str], str]:
    """A company with several branches and an RSIN."""
    for number in kvk.companies(200):
        known = kvk.admin.kvk_company(number)
        if len(known["branches"]) > 1 and known.get("rsin"):
            return number, list(known["branches"]), str(known["rsin"])
    raise AssertionError("the sandbox has no such company")


def look_again(kvk: KvkRig) -> None:
    """Have everything asked for and compared once more."""
    kvk.admin.clear_journal()
    assert command(kvk, "items", "retry", "kvk/").code == 0
    kvk.run()


def asked_about(kvk: KvkRig, subjects: Iterable[str]) -> list[str]:
    """The requests since the journal was cleared that name any of these."""
    paths = [str(entry["path"]) for entry in kvk.rig.journal()]
    return [path for path in paths if any(subject in path for subject in subjects)]


@pytest.fixture
def rich(make_kvk: Callable[..., KvkRig]) -> tuple[KvkRig, str, list[str], str]:
    """A company with all that a store can hold of it: its records, its branches, rows of a search and of its RSIN."""
    kvk = make_kvk(watch={**ALL_PARTS, "rsins": {"parts": []}, "found": {"parts": ["basisprofiel"]}})
    number, branches, rsin = branched(kvk)
    others = [one for one in kvk.companies(9) if one != number]
    kvk.follow("clients", [number, *others[:2]])
    kvk.follow("rsins", [rsin])
    kvk.search("found", plaats=kvk.admin.kvk_company(number)["answers"]["basisprofiel"]["body"]["_embedded"][
        "hoofdvestiging"]["adressen"][0]["plaats"])  # fmt: skip
    kvk.run()
    held = named(kvk, [number, *branches])
    assert {path.split("/")[1] for path in held} == {"numbers", "searches"}
    assert any(path.endswith(".zoeken.json") for path in held)
    return kvk, number, branches, rsin


def check_gone(kvk: KvkRig, number: str, branches: list[str]) -> None:
    """No byte of the company is left, nothing asks about it, and the rest agrees."""
    gone = [number, *branches]
    assert named(kvk, gone) == []
    look_again(kvk)
    assert named(kvk, gone) == []
    assert asked_about(kvk, gone) == []
    verified = command(kvk, "verify")
    assert verified.code == 0, verified.out
    (company,) = command(kvk, "watch", "list", number, "--json").json["companies"]
    assert company["forgotten_at"]
    assert "forgotten at" in command(kvk, "watch", "list", number).out


def test_a_company_leaves_no_byte_and_neither_list_nor_search_brings_it_back(
    rich: tuple[KvkRig, str, list[str], str],
) -> None:
    kvk, number, branches, _ = rich
    others = {key: digest for key, digest in kvk.held().items() if key[0] not in (number, *branches)}
    done = command(kvk, "forget", f"kvk:{number}", "--reason", "request 7", "--yes", "--json")
    assert done.code == 0, done.err
    assert min(done.json["did"][name] for name in ("files", "documents")) > 0
    check_gone(kvk, number, branches)
    left = {key: digest for key, digest in kvk.held().items() if key[1] != "zoeken"}
    assert left == {key: digest for key, digest in others.items() if key[1] != "zoeken"}
    assert all(cell.is_sealed for cell in kvk.cells().values()), "the rest of the search is complete"
    assert command(kvk, "manifest", "rebuild").code == 0
    check_gone(kvk, number, branches)


def test_an_rsin_takes_its_company_along(rich: tuple[KvkRig, str, list[str], str]) -> None:
    kvk, number, branches, rsin = rich
    assert command(kvk, "forget", rsin, "--reason", "request 7", "--yes").code == 0
    assert named(kvk, [rsin]) == []
    check_gone(kvk, number, branches)


def test_a_branch_goes_alone(rich: tuple[KvkRig, str, list[str], str]) -> None:
    kvk, number, branches, _ = rich
    branch = branches[-1]
    assert command(kvk, "forget", branch, "--reason", "request 7", "--yes").code == 0
    look_again(kvk)
    assert named(kvk, [branch]) == []
    assert asked_about(kvk, [branch]) == []
    assert f"{branch:<14} branch" in command(kvk, "forget", "--list").out
    assert {(number, "basisprofiel"), (branches[0], "vestigingsprofiel")} <= kvk.held().keys()


def test_what_was_never_held_stays_away_although_a_list_names_it(make_kvk: Callable[..., KvkRig]) -> None:
    kvk = make_kvk(watch={"clients": {"parts": EVERY_PART}})
    number, branches, _ = branched(kvk)
    kvk.follow("clients", [kvk.companies(1)[0]])
    kvk.run()
    assert command(kvk, "forget", number, "--reason", "request 7", "--yes").code == 0
    kvk.follow("clients", [number, *branches])
    kvk.admin.clear_journal()
    kvk.run()
    assert named(kvk, [number]) == [], "a branch says whose it is before it has its name"
    assert asked_about(kvk, [number]) == []


# ------------------------------------------------------------------------------------------ shielding


@pytest.fixture
def moved_and_shielded(make_kvk: Callable[..., KvkRig]) -> tuple[KvkRig, str, list[str]]:
    """A company of which two versions are held, and whose address KVK shields by now; with the streets it had."""
    kvk = make_kvk(watch={"clients": {"parts": ["basisprofiel"]}})
    number, _, _ = branched(kvk)
    kvk.follow("clients", [number])
    kvk.run()
    streets = [street_of(kvk, number)]
    kvk.admin.kvk_change(number, address={"street": "Verhuisweg"})
    look_again(kvk)
    streets.append(street_of(kvk, number))
    assert kvk.item(number).version == 2
    assert named(kvk, streets)
    kvk.admin.kvk_change(number, is_shielded=True)
    assert command(kvk, "items", "retry", "kvk/").code == 0
    return kvk, number, streets


def street_of(kvk: KvkRig, number: str) -> str:
    """The street of the main branch, as it lies in the store."""
    (address, *_) = kvk.body(number, "basisprofiel")["_embedded"]["hoofdvestiging"]["adressen"]
    return str(address["straatnaam"])


def check_shielded(kvk: KvkRig, number: str, streets: list[str]) -> None:
    """Only the shielded version is left, and everything agrees about it."""
    (facts,) = kvk.versions(number)
    assert facts["shielded"] is True
    shown = [street for street in streets if street not in json.dumps(kvk.body(number, "basisprofiel"))]
    assert shown == streets or named(kvk, shown) == []
    assert not (kvk.store.root / "versions").exists() or not [*(kvk.store.root / "versions").rglob("*.json")]
    assert kvk.store.staging() == []
    assert kvk.item(number).state == "stored"
    assert command(kvk, "verify").code == 0
    told = [json.loads(line) for line in command(kvk, "changes").out.splitlines()]
    assert [one["kind"] for one in told if one.get("key") == f"kvk/numbers/{number}/basisprofiel"][-2:] in (
        ["replaced", "older_removed"], ["older_removed", "replaced"],
    )  # fmt: skip


def test_a_record_that_is_shielded_now_has_no_older_versions(
    moved_and_shielded: tuple[KvkRig, str, list[str]],
) -> None:
    kvk, number, streets = moved_and_shielded
    kvk.run()
    assert kvk.item(number).version == 3
    check_shielded(kvk, number, streets)
    assert command(kvk, "manifest", "rebuild").code == 0
    assert [facts["shielded"] for facts in kvk.versions(number)] == [True]


@pytest.mark.parametrize("step", [steps.OLDER_CLAIMED, steps.BODY_RENAMED, steps.OLDER_REMOVED])
def test_a_death_at_any_step_leaves_no_older_version_to_the_next_start(
    moved_and_shielded: tuple[KvkRig, str, list[str]], step: str
) -> None:
    kvk, number, streets = moved_and_shielded
    with kvk.rig.daemon(until="idle", environment={KILL_VARIABLE: f"{step}:1"}) as daemon:
        assert daemon.wait(60.0).code == -9, f"{step} was not reached"
    kvk.run()
    check_shielded(kvk, number, streets)


# ------------------------------------------------------------------------------------------ keys


def test_a_key_that_the_gateway_echoes_is_nowhere(make_kvk: Callable[..., KvkRig]) -> None:
    kvk = make_kvk(watch=ALL_PARTS, knobs={"leaks_key": True, "gzip_unasked": True})
    number, _, _ = branched(kvk)
    kvk.admin.add_fault(
        {"kind": "echo_key", "headers": {"X-Sent": "{key}", "API-Version": "{key}"}, "in_text": False}
    )
    kvk.admin.add_fault({"kind": "status", "status": 500}, operation="eigenaar", times=1)
    kvk.follow("clients", [number, "12345678"])
    kvk.search("found", kvkNummer=number)
    kvk.run()
    assert (number, "basisprofiel") in kvk.held()
    assert kvk.body(number, "basisprofiel")["kvkNummer"] == number, "packed bodies lie unpacked"
    assert kvk.store.files_with(KEYS.values()) == []
    text = (kvk.store.root / "log" / "filingd.jsonl").read_text()
    assert "apiauthzdetails" not in text.lower()
    assert "IPD0005" in text or kvk.item("12345678").state != "stored"
