"""The examiner's report, whatever way the bytes came; and its use from two threads."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from filingd.adapters.body import BodyExaminer
from filingd.adapters.zipdirectory import read_directory
from filingd.core.errors import FilingdError
from filingd.core.model import BodyPlan
from support.zips import made_zip

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from filingd.core.model import BodyReport

PLAN = BodyPlan(max_bytes=1 << 30)
MEMBERS = {"a.json": b"{}" * 500, "b.json": b"[]"}


def examined(
    data: bytes, plan: BodyPlan = PLAN, declared: int | None = None, piece: int = 1 << 20
) -> BodyReport:
    examiner = BodyExaminer(plan)
    for at in range(0, len(data), piece):
        examiner.feed(memoryview(data)[at : at + piece])
    return examiner.report(
        declared,
        lambda: {
            line.header_at: line.packed_bytes
            for line in read_directory(lambda at, count: data[at : at + count], len(data))
        },
        lambda walk: walk.feed(memoryview(data)),
    )


@pytest.mark.parametrize("piece", [1, 3, 5, 2047, 2049, 1 << 20])
def test_the_head_and_the_kind_do_not_depend_on_the_pieces(piece: int) -> None:
    data = made_zip(MEMBERS, method=zipfile.ZIP_STORED) + b""
    report = examined(data, piece=piece)
    assert (report.kind, report.problem, report.head) == ("zip", None, data[:2048])


def test_stored_members_that_do_not_say_their_size_are_walked_by_the_directory() -> None:
    data = made_zip(MEMBERS, method=zipfile.ZIP_STORED, streamed=True)
    report = examined(data)
    assert (report.problem, report.member_count) == (None, 2)
    assert report.content_digest == examined(made_zip(MEMBERS)).content_digest


def test_without_the_file_such_a_zip_is_refused() -> None:
    data = made_zip(MEMBERS, method=zipfile.ZIP_STORED, streamed=True)
    examiner = BodyExaminer(PLAN)
    examiner.feed(memoryview(data))
    assert examiner.report(None).problem == "zip_bad_header"


def test_a_zip_of_folders_only_is_an_empty_zip() -> None:
    report = examined(made_zip({}, folders=("d/",)))
    assert (report.kind, report.problem) == ("empty_zip", None)


def test_a_damaged_empty_zip_is_damaged() -> None:
    assert examined(made_zip({})[:-1]).problem == "zip_no_end"
    assert examined(made_zip({}) + b"x").problem == "zip_trailing"


def test_the_length_is_named_before_what_it_breaks() -> None:
    data = made_zip(MEMBERS)[:-5]
    assert examined(data, declared=len(data) + 5).problem == "short_body"
    assert examined(data).problem == "zip_no_end"


def test_a_sound_zip_that_was_not_asked_for_is_of_the_wrong_kind() -> None:
    plan = BodyPlan(max_bytes=1 << 20, accept=frozenset({"json"}))
    report = examined(made_zip(MEMBERS), plan)
    assert (report.problem, report.kind) == ("wrong_kind", "zip")
    assert "json" in report.problem_detail


def test_a_problem_leaves_no_content_digest() -> None:
    assert examined(made_zip(MEMBERS) + b"x").content_digest is None


class Grumpy:
    """Accepts every member and none of the whole."""

    def wants(self, name: str) -> bool:
        return True

    def member(self, name: str, data: bytes) -> str | None:
        return None

    def facts(self) -> Mapping[str, Any]:
        raise FilingdError("together they make no sense")


def test_an_inspector_may_refuse_the_whole() -> None:
    report = examined(made_zip(MEMBERS), BodyPlan(1 << 20, inspector=Grumpy))
    assert (report.problem, report.problem_detail) == ("inspect_failed", "together they make no sense")


def test_the_halves_may_run_on_two_threads() -> None:
    data = made_zip({f"{number}.json": b"x" * number for number in range(2000)})
    pieces = [memoryview(data)[at : at + 4096] for at in range(0, len(data), 4096)]
    examiner = BodyExaminer(PLAN)
    threads = [
        threading.Thread(target=lambda half=half: [half(piece) for piece in pieces])
        for half in (examiner.count, examiner.walk)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = examiner.report(len(data))
    assert (report.problem, report.member_count) == (None, 2000)
    assert report.sha256 == hashlib.sha256(data).digest()
