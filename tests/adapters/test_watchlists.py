"""The folder of watchlists: real files, looked at, read and edited as an operator would."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from filingd.adapters.disk import Syscalls
from filingd.adapters.watchlists import ListEditor, WatchlistFiles, WatchlistFolder
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.watchlist import Entry, Reading, SavedSearch, SearchError
from filingd.registries.nbb.enterprises import check_digits, plain_number
from filingd.registries.nbb.terms import NbbTerms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALFA, BETA, GAMMA = "0999000129", "0999000228", "0999000327"
QUICK = NbbTerms(60.0, frozenset({"json"}), 1)
needs_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "watchlists"
    made.mkdir()
    return made


def lists_in(folder: Path, **terms: NbbTerms) -> WatchlistFolder:
    return WatchlistFolder(folder, terms, plain_number, NbbTerms())


def read(lists: WatchlistFolder) -> Reading:
    reading = lists.look()
    assert reading is not None
    return reading


# ------------------------------------------------------------------------------------------------- reading


def test_each_file_is_a_list_with_terms_of_its_own(folder: Path) -> None:
    (folder / "clients.csv").write_text(f"number,name\n{ALFA},ALFA\n{BETA}\n")
    (folder / "others.csv").write_text(f"BE {BETA}\n{GAMMA}\n")
    (folder / "README.txt").write_text("not a list")
    (folder / ".hidden.csv").write_text("nor this")
    reading = read(lists_in(folder, clients=QUICK))
    assert reading.watched == {ALFA: QUICK, BETA: QUICK | NbbTerms(), GAMMA: NbbTerms()}
    assert reading.counts == {"clients": 2, "others": 2}
    assert reading.findings == ()


def test_bad_lines_are_told_with_file_line_value_and_remedy(folder: Path) -> None:
    path = folder / "clients.csv"
    path.write_text(f"{ALFA}\n0999.000.128\n{BETA}\n{ALFA}\n")
    reading = read(lists_in(folder))
    assert list(reading.watched) == [ALFA, BETA]
    bad, twice = reading.findings
    assert bad.startswith(f"{path}, line 2: 0999.000.128: ")
    assert "ends in 29" in bad
    assert twice.startswith(f"{path}, line 4: ")
    assert reading.finding_count == 2


def test_what_is_told_is_bounded_and_counted(folder: Path) -> None:
    (folder / "clients.csv").write_text("1\n" * 500)
    reading = read(lists_in(folder))
    assert (len(reading.findings), reading.finding_count) == (20, 500)


def test_without_a_folder_nobody_is_followed(tmp_path: Path) -> None:
    lists = lists_in(tmp_path / "missing")
    assert read(lists) == Reading({}, {}, is_complete=False), "it may be about to be mounted"
    assert lists.look() is None


def test_terms_for_a_list_that_is_not_there_are_told(folder: Path) -> None:
    (finding,) = read(lists_in(folder, clientes=QUICK)).findings
    assert "clientes.csv" in finding


def test_nothing_is_read_again_until_something_changed(folder: Path) -> None:
    path = folder / "clients.csv"
    path.write_text(f"{ALFA}\n")
    lists = lists_in(folder)
    assert list(read(lists).watched) == [ALFA]
    assert lists.look() is None
    path.write_text(f"{ALFA}\n{BETA}\n")
    assert list(read(lists).watched) == [ALFA, BETA]
    (folder / "more.csv").write_text(f"{GAMMA}\n")
    assert list(read(lists).watched) == [ALFA, BETA, GAMMA]
    path.unlink()
    assert list(read(lists).watched) == [GAMMA]
    assert lists.look() is None


def test_a_file_exchanged_for_one_of_the_same_size_and_time_is_noticed(folder: Path) -> None:
    path, other = folder / "clients.csv", folder / "new"
    path.write_text(f"{ALFA}\n")
    lists = lists_in(folder)
    read(lists)
    other.write_text(f"{BETA}\n")
    seen = path.stat()
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.rename(path)
    assert list(read(lists).watched) == [BETA]


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def take_away(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def exchange_for_an_empty_one(folder: Path) -> None:
    take_away(folder)
    folder.mkdir()


def exchange_for_a_file(folder: Path) -> None:
    take_away(folder)
    folder.write_text("")


@pytest.mark.parametrize("spoil", [take_away, exchange_for_an_empty_one, exchange_for_a_file])
def test_a_folder_that_is_gone_counts_as_it_was_until_it_is_back(folder: Path, spoil: object) -> None:
    assert callable(spoil)
    (folder / "clients.csv").write_text(f"{ALFA}\n{BETA}\n")
    lists = lists_in(folder)
    read(lists)
    spoil(folder)
    gone = read(lists)
    assert (list(gone.watched), gone.counts, gone.is_complete) == ([ALFA, BETA], {"clients": 2}, True)
    (finding,) = gone.findings
    assert finding.startswith(f"{folder}: ")
    assert "read last" in finding
    assert lists.look() is None
    folder.rmdir() if folder.is_dir() else folder.unlink(missing_ok=True)
    lists.look()
    folder.with_name("elsewhere").rename(folder)
    back = read(lists)
    assert (list(back.watched), back.findings) == ([ALFA, BETA], ())


def test_the_last_list_may_be_removed_from_its_folder(folder: Path) -> None:
    path = folder / "clients.csv"
    path.write_text(f"{ALFA}\n")
    lists = lists_in(folder)
    read(lists)
    path.unlink()
    assert read(lists) == Reading({}, {})


@pytest.mark.parametrize("spoil", [make_fifo, make_folder, make_dangling])
def test_a_list_that_was_never_read_makes_the_reading_incomplete_until_it_is(
    folder: Path, spoil: object
) -> None:
    assert callable(spoil)
    path = folder / "clients.csv"
    (folder / "others.csv").write_text(f"{BETA}\n")
    spoil(path)
    lists = lists_in(folder)
    reading = read(lists)
    assert (list(reading.watched), reading.is_complete) == ([BETA], False)
    assert "not read since the start" in reading.findings[0]
    assert "read last" not in reading.findings[0]
    (folder / "more.csv").write_text(f"{GAMMA}\n")
    assert not read(lists).is_complete, "it was not read last time either"
    path.rmdir() if path.is_dir() else path.unlink()
    path.write_text(f"{ALFA}\n")
    reading = read(lists)
    assert (list(reading.watched), reading.is_complete) == ([ALFA, BETA, GAMMA], True)


@pytest.mark.parametrize("spoil", [take_away, exchange_for_an_empty_one, exchange_for_a_file])
def test_after_a_restart_a_folder_without_lists_shows_nothing(folder: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(folder)
    lists = lists_in(folder)
    assert not read(lists).is_complete
    folder.rmdir() if folder.is_dir() else folder.unlink(missing_ok=True)
    lists.look()
    folder.mkdir()
    (folder / "clients.csv").write_text("# nobody\n")
    assert read(lists) == Reading({}, {"clients": 0})


@pytest.mark.parametrize("spoil", [make_fifo, make_folder, make_dangling])
def test_a_list_that_cannot_be_read_any_more_counts_as_it_was(folder: Path, spoil: object) -> None:
    assert callable(spoil)
    path = folder / "clients.csv"
    path.write_text(f"{ALFA}\n")
    (folder / "others.csv").write_text(f"{BETA}\n")
    lists = lists_in(folder)
    read(lists)
    path.unlink()
    spoil(path)
    reading = read(lists)
    assert list(reading.watched) == [ALFA, BETA]
    assert reading.findings[0].startswith(f"{path}: It cannot be read")
    assert "as it was read last" in reading.findings[0]


@needs_user
def test_a_folder_that_cannot_be_read_any_more_counts_as_it_was(folder: Path) -> None:
    (folder / "clients.csv").write_text(f"{ALFA}\n")
    lists = lists_in(folder)
    read(lists)
    folder.chmod(0)
    try:
        reading = read(lists)
    finally:
        folder.chmod(0o755)
    assert list(reading.watched) == [ALFA]
    assert reading.finding_count == 1
    assert list(read(lists).watched) == [ALFA]


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "watchlists").write_text("")
    (finding,) = read(lists_in(tmp_path / "watchlists")).findings
    assert "Check that it is a folder" in finding


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + ALFA.encode(), ALFA.encode() + b",caf\xe9\r\n", ALFA.encode() + b",\0"]
)
def test_whatever_program_wrote_it_the_numbers_are_read(folder: Path, data: bytes) -> None:
    (folder / "clients.csv").write_bytes(data)
    reading = read(lists_in(folder))
    assert (list(reading.watched), reading.findings) == ([ALFA], ())


async def test_the_event_loop_looks_through_a_thread(folder: Path) -> None:
    (folder / "clients.csv").write_text(f"{ALFA}\n")
    lists = WatchlistFiles(lists_in(folder))
    reading = await lists.look()
    assert reading is not None
    assert list(reading.watched) == [ALFA]
    assert await lists.look() is None


# ------------------------------------------------------------------------------------------------- editing


def editor(folder: Path) -> ListEditor:
    return ListEditor(folder, plain_number)


def test_a_list_is_made_with_its_folder_when_the_first_company_comes(tmp_path: Path) -> None:
    edit = editor(tmp_path / "new" / "watchlists")
    assert edit.names() == []
    assert edit.lines("clients") == []
    assert edit.add("clients", [Entry(ALFA, "ALFA NV")]) == ([ALFA], [])
    assert edit.path("clients").read_text() == f"{ALFA},ALFA NV\n"
    assert edit.names() == ["clients"]


def test_an_edit_keeps_every_byte_of_the_rest(folder: Path) -> None:
    path = folder / "clients.csv"
    before = b"\xef\xbb\xbfnumber;name\r\n# mine \xe9\r\n0999.000.129;caf\xe9\r\n"
    path.write_bytes(before)
    assert editor(folder).add("clients", [Entry(BETA), Entry(ALFA)]) == ([BETA], [ALFA])
    assert path.read_bytes() == before + BETA.encode() + b"\r\n"
    assert editor(folder).remove("clients", [BETA, GAMMA]) == [BETA]
    assert path.read_bytes() == before


def test_an_edit_that_changes_nothing_leaves_the_file_alone(folder: Path) -> None:
    path = folder / "clients.csv"
    path.write_text(f"{ALFA}\n")
    seen = path.stat()
    assert editor(folder).add("clients", [Entry(ALFA)]) == ([], [ALFA])
    assert editor(folder).remove("clients", [BETA]) == []
    assert path.stat().st_ino == seen.st_ino
    assert editor(folder).remove("others", [BETA]) == []
    assert not (folder / "others.csv").exists()


def test_a_list_stays_readable_for_whoever_could_read_it(folder: Path) -> None:
    path = folder / "clients.csv"
    path.write_text(f"{ALFA}\n")
    path.chmod(0o664)
    editor(folder).add("clients", [Entry(BETA)])
    assert path.stat().st_mode & 0o777 == 0o664
    folder.chmod(0o750)
    editor(folder).add("others", [Entry(BETA)])
    assert (folder / "others.csv").stat().st_mode & 0o777 == 0o640


def test_a_link_to_a_list_elsewhere_stays_a_link(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.csv"
    real.write_text(f"{ALFA}\n")
    (folder / "clients.csv").symlink_to(real)
    editor(folder).add("clients", [Entry(BETA)])
    assert (folder / "clients.csv").is_symlink()
    assert real.read_text() == f"{ALFA}\n{BETA}\n"


def test_a_full_disk_leaves_the_list_as_it_was(folder: Path) -> None:
    path = folder / "clients.csv"
    path.write_text(f"{ALFA}\n")

    class Full(Syscalls):
        def write(self, fd: int, data: memoryview) -> int:
            raise OSError(28, "No space left on device")

    edit = editor(folder)
    edit._disk.syscalls = Full()
    with pytest.raises(DiskFullError):
        edit.add("clients", [Entry(BETA)])
    assert path.read_text() == f"{ALFA}\n"
    assert [found.name for found in folder.iterdir()] == ["clients.csv"]


def test_a_list_that_cannot_be_read_is_not_edited(folder: Path) -> None:
    make_fifo(folder / "clients.csv")
    with pytest.raises(DiskFaultError):
        editor(folder).add("clients", [Entry(BETA)])
    assert (folder / "clients.csv").is_fifo()


def test_two_who_add_at_once_lose_nothing(folder: Path) -> None:
    numbers = [f"09990{number:03d}{check_digits(f'09990{number:03d}'):02d}" for number in range(60)]

    def add(part: list[str]) -> None:
        for number in part:
            editor(folder).add("clients", [Entry(number)])

    threads = [threading.Thread(target=add, args=(numbers[start::3],)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read(lists_in(folder)).watched) == sorted(numbers)


# ------------------------------------------------------------------------------------------------- saved searches


class Words(NamedTuple):
    """A search of a registry that looks for words."""

    word: str

    def words(self) -> list[str]:
        return [self.word]


def word_search(table: Mapping[str, Any]) -> Words:
    if set(table) != {"word"}:
        raise SearchError("word is missing; write a word.")
    return Words(table["word"])


def searches_in(folder: Path, **terms: NbbTerms) -> WatchlistFolder:
    return WatchlistFolder(folder, terms, plain_number, NbbTerms(), word_search)


def test_saved_searches_have_the_terms_of_their_name(folder: Path) -> None:
    (folder / "mills.toml").write_text('word = "mill"\n')
    (folder / "clients.csv").write_text(f"{ALFA}\n")
    lists = searches_in(folder, mills=QUICK)
    reading = read(lists)
    assert reading.searches == {"mills": SavedSearch(Words("mill"), QUICK)}
    assert reading.findings == ()
    assert lists.look() is None, "nothing changed"
    (folder / "mills.toml").unlink()
    assert read(lists).searches == {}


def test_a_search_that_is_spoilt_stays_what_it_was_and_one_that_never_was_is_not_used(folder: Path) -> None:
    path = folder / "mills.toml"
    path.write_text('word = "mill"\n')
    lists = searches_in(folder)
    read(lists)
    path.write_text("word = \n")
    (folder / "other.toml").write_text("")
    reading = read(lists)
    assert {name: saved.search for name, saved in reading.searches.items()} == {"mills": Words("mill")}
    assert not reading.is_complete, "nobody is taken out meanwhile"
    assert [finding.partition(": ")[0] for finding in reading.findings] == [
        str(path),
        str(folder / "other.toml"),
    ]
    assert "Until then it counts as it was read last." in reading.findings[0]
    assert "nothing is searched for it" in reading.findings[1]


def test_where_nothing_can_be_searched_such_files_are_not_looked_at(folder: Path) -> None:
    (folder / "mills.toml").write_text('word = "mill"\n')
    assert read(lists_in(folder)).searches == {}


def test_a_search_is_saved_whole_and_only_if_it_is_one(folder: Path) -> None:
    editor = searches_in(folder).editor()
    assert editor.save_search("mills", 'word = "mill"\n')
    assert not editor.save_search("mills", 'word = "mill"\n'), "there already"
    with pytest.raises(SearchError):
        editor.save_search("mills", "")
    assert (editor.searches(), editor.search("mills")) == (["mills"], Words("mill"))
    assert editor.remove_search("mills")
    assert not editor.remove_search("mills")
