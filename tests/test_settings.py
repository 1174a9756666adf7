"""The configuration: strict, with every problem said in one go, and no key in any of them."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd import settings as module
from filingd.core.errors import ConfigError, ExitCode
from filingd.registries.nbb.routes import DEFAULT_OPERATIONS
from filingd.registries.nbb.rules import NbbRules
from filingd.registries.nbb.terms import NbbTerms
from filingd.settings import Settings, parse
from filingd.settings_reader import Reader, section_of

KVK = "[kvk.keys.main]\nkey = 'env:A'\nbudget_per_month_eur = 0.5\n"
FILE = Path("/etc/filingd/filingd.toml")
KEY = "0123456789abcdef" * 2
NBB = """
[nbb]
since = 2024-01-01
[nbb.products.extract]
keys = ["env:EXTRACT"]
"""


def _refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    assert caught.value.exit_code is ExitCode.CONFIG
    return str(caught.value)


# ------------------------------------------------------------------------------------------ what is accepted


def test_an_empty_file_gives_the_careful_defaults() -> None:
    settings = parse("", FILE)
    assert settings == Settings()
    assert settings.store.path == Path("/var/lib/filingd")
    assert settings.store.keep_free_bytes == 5 * 1024**3
    assert settings.log_file == Path("/var/lib/filingd/log/filingd.jsonl")
    assert settings.manifest_path == Path("/var/lib/filingd/manifest.db")
    assert settings.http.idle_timeout_s == 180.0
    assert settings.nbb is None
    assert settings.key_references == {}


def test_units_become_seconds_and_bytes() -> None:
    text = '[run]\nretry_cap = "1 h 30 min"\n[transfer]\nmax_body = "1.5 GiB"\n'
    assert parse(text, FILE).run.retry_cap_s == 5400.0
    assert parse(text, FILE).transfer.max_body_bytes == 1536 * 1024**2


def test_a_new_day_is_not_first_asked_for_before_it_settles() -> None:
    text = NBB.replace("[nbb.products", 'settles_at = "06:00"\n[nbb.products', 1)
    with pytest.raises(ConfigError, match=r"first_try_from = 05:30.*before settles_at \(06:00"):
        parse(text, FILE)


def test_dates_and_times_may_be_written_as_toml_has_them() -> None:
    nbb = parse(
        NBB.replace(
            "[nbb.products", "settles_at = 05:15:00\nknown_empty_days = [2026-05-15]\n[nbb.products", 1
        ),
        FILE,
    ).nbb
    assert nbb is not None
    assert nbb.since == dt.date(2024, 1, 1)
    assert nbb.settles_at == dt.time(5, 15)
    assert nbb.known_empty_days == (dt.date(2026, 5, 15),)


def test_key_references_are_given_by_lane() -> None:
    text = NBB + '[nbb.products.authentic-archive]\nkeys = ["credential:a", "file:/k/b"]\n'
    assert parse(text, FILE).key_references == {
        "nbb/extract": ("env:EXTRACT",),
        "nbb/authentic-archive": ("credential:a", "file:/k/b"),
    }


def test_relative_paths_start_at_the_folder_of_the_file_not_of_the_shell() -> None:
    text = '[store]\npath = "../data"\n[log]\npath = "x.jsonl"\n' + NBB.replace(
        "env:EXTRACT", "file:keys/extract"
    )
    settings = parse(text, FILE)
    assert settings.store.path == Path("/etc/data")
    assert settings.log_file == Path("/etc/filingd/x.jsonl")
    assert settings.key_references["nbb/extract"] == ("file:/etc/filingd/keys/extract",)


def test_a_dash_sends_the_log_to_standard_output() -> None:
    assert parse('[log]\npath = "-"\n', FILE).log_file is None


@pytest.mark.parametrize(
    "url", ["https://ws.uat2.cbso.nbb.be", "http://127.0.0.1:8480", "http://localhost", "http://[::1]:1"]
)
def test_https_or_this_very_machine_may_be_asked(url: str) -> None:
    nbb = parse(NBB.replace("since", f'base_url = "{url}/"\nsince', 1), FILE).nbb
    assert nbb is not None
    assert nbb.base_url == url


def test_the_user_agent_names_the_program_and_whom_to_write_to() -> None:
    assert re.fullmatch(r"filingd/\d+\.\d+\.\d+", parse("", FILE).http.agent)
    contact = parse('[http]\ncontact = "mailto:ops@example.org"\n', FILE).http.agent
    assert re.fullmatch(r"filingd/\d+\.\d+\.\d+ \(\+mailto:ops@example\.org\)", contact)
    assert (
        parse('[http]\nuser_agent = "acme/1 (+https://a.example)"\n', FILE).http.agent
        == "acme/1 (+https://a.example)"
    )


def test_paths_and_media_types_can_be_replaced_one_by_one() -> None:
    nbb = parse(NBB + '[nbb.paths.extract.json]\npath = "/new/{date}/json"\n', FILE).nbb
    assert nbb is not None
    assert nbb.paths.extract is not None
    assert nbb.paths.extract.json == module.OperationSettings(path="/new/{date}/json", accept=None)


def test_the_demo_can_take_another_store_and_host() -> None:
    settings = parse(NBB, FILE).overridden(store_path=Path("/tmp/x"), nbb_base_url="http://127.0.0.1:1/")
    assert settings.store.path == Path("/tmp/x")
    assert settings.log_file == Path("/tmp/x/log/filingd.jsonl")
    assert settings.nbb is not None
    assert settings.nbb.base_url == "http://127.0.0.1:1"


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[nbb]\nsinc = 2024-01-01\n", "nbb.sinc: unknown key; did you mean `since`?"),
        ("[nbb.products.authentic_archive]\n", "did you mean `authentic-archive`?"),
        ("[runs]\n", "runs: unknown key; did you mean `run`?"),
        ('[run]\nidle_timeout = "1 s"\n', "run.idle_timeout: unknown key; it belongs in [http]"),
        ("[store]\nxyzzy = 1\n", "store.xyzzy: unknown key; remove it (known here: `path`, `keep_free`)"),
        ("[store]\nkeep_free = 5\n", 'store.keep_free = 5: it has no unit; write it as "5 GiB"'),
        ("[http]\nidle_timeout = 1.5\n", 'http.idle_timeout = 1.5: it has no unit; write it as "30 s"'),
        ('[http]\nidle_timeout = "5 m"\n', 'http.idle_timeout = "5 m": write a number and a unit'),
        ('[run]\nplan_interval = "0 s"\n', 'run.plan_interval = "0 s": it is too small; write more than "0 s"'),
        ('[run]\nconcurrency = "two"\n', 'run.concurrency = "two": expected a whole number of at least 1'),
        ("[run]\nconcurrency = 0\n", "run.concurrency = 0: expected a whole number of at least 1"),
        ("[run]\nconcurrency = true\n", "run.concurrency = true: expected a whole number"),
        ("[run]\nconcurrency = 2.5\n", "run.concurrency = 2.5: expected a whole number"),
        ('[http]\ntake_over = "yes"\n', 'http.take_over = "yes": expected true or false; the default is true'),
        ('[log]\nlevel = "warn"\n', 'expected one of "debug", "info", "warning", "error"; did you mean `warning`?'),
        ("store = 3\n", "store = 3: expected a section; write [store]"),
        ("[[store]]\n", "expected a section; write [store]"),
        ('[store]\npath = ""\n', "store.path"),
        ("[nbb]\n", "nbb.since: it is missing; write `since = 2024-01-01`"),
        ('[nbb]\nsince = "2024-01-01"\n', 'nbb.since = "2024-01-01": expected a date without quotes, such as 2024-01-01'),
        ("[nbb]\nsince = 2024-01-01T00:00:00Z\n", "expected a date without quotes"),
        ("[nbb]\nsince = 2024-01-01\n", "nbb.products: no subscription is configured"),
        (NBB.replace("since", 'authentic = ["json"]\nsince'), 'add "references"'),
        (NBB.replace("since", 'authentic = ["references", "references"]\nsince'), "stands there twice"),
        (NBB.replace("since", "authentic = []\nsince"), "nbb.authentic = []: the list is empty"),
        (NBB.replace("since", 'authentic = "json"\nsince'), "expected a list; write it in square brackets"),
        (NBB.replace("since", 'timezone = "Europe/Brussel"\nsince'), "there is no such time zone"),
        (NBB.replace("since", 'base_url = "http://ws.cbso.nbb.be"\nsince'), "a key may only travel over https"),
        (NBB.replace("since", 'base_url = "http://127.0.0.1.example.org"\nsince'), "a key may only travel over https"),
        (NBB.replace("since", 'base_url = "https://x/?a=b"\nsince'), "a base URL ends with its path"),
        (NBB.replace("since", 'base_url = "https://x:99999"\nsince'), "this is not a URL"),
        (NBB.replace("since", "extract_max_age_days = 34\nsince"), "it is above extract_last_try_age_days"),
        (NBB.replace("since", "archive_min_age_days = 35\nsince"), "could be had nowhere"),
        (NBB.replace("since", "min_json_share = 1.1\nsince"), "nbb.min_json_share = 1.1: expected a number"),
        (NBB + "calls_per_second = 0\n", "calls_per_second = 0: expected a number above 0"),
        (NBB + "calls_per_second = inf\n", "calls_per_second = inf: expected a number above 0"),
        (NBB + "calls_per_second = nan\n", "calls_per_second = nan: expected a number above 0"),
        (NBB + "[nbb.paths.extract.json]\npath = '/no/date'\n", "expected a path with one {date} in it"),
        (NBB + "[nbb.paths.extract.json]\naccept = '*/*, a/b'\n", "expected one media type"),
        (NBB + "[nbb.paths.authentic-query.pdf]\npath = '/no/{date}'\n", "expected a path with one {ref} in it"),
        (NBB + "[nbb.paths.improved.enterprise]\npath = '/no/{ref}'\n", "expected a path with one {cbe} in it"),
        (NBB + "[nbb.paths.improved.document]\npath = '/no/{ref}'\n", "one {ref} and one {kind} in it"),
        (NBB + "[nbb.watch.clients]\ndocuments = ['zip']\n", "nbb.watch.clients.documents[0]"),
        (NBB + "[nbb.watch.clients]\nlatest = -1\n", "nbb.watch.clients.latest = -1"),
        (NBB + "[nbb.watch.clients]\nrefresh_interval = 30\n", "it has no unit"),
        (NBB + "[nbb.watch]\nlatest = 3\n", "nbb.watch.latest"),
        (NBB.replace("since", "improved = ['json']\nsince"), 'nbb.improved = ["json"]: no day can be checked'),
        (NBB.replace("since", "improved = ['pdf']\nsince"), "nbb.improved"),
        (
            NBB.replace("extract", "improved-archive").replace("since", "improved = []\nsince"),
            "neither a day nor a company can be had by these subscriptions",
        ),
        ("[kvk]\n", "kvk.keys: no key is configured; write [kvk.keys.main]"),
        (KVK.replace("0.5", "-1"), "kvk.keys.main.budget_per_month_eur = -1"),
        (KVK.replace("budget_per_month_eur = 0.5", ""), "kvk.keys.main.budget_per_month_eur: it is missing"),
        ("[kvk]\ncalls_per_second = 101\n" + KVK, "kvk.calls_per_second = 101"),
        (KVK + "[kvk.watch.a]\naccount = 'other'\n", 'kvk.watch.a.account = "other": there is no such key'),
        (KVK + "[kvk.watch.a]\nparts = ['profile']\n", "kvk.watch.a.parts[0]"),
        (KVK + "[kvk.watch.a.refresh]\nnaamgeving = '1 d'\n", "that part is not fetched; add it to `parts`"),
        (KVK + "[kvk.keys.two]\nkey = 'env:A'\nbudget_per_month_eur = 1\n", "two of them are the same key"),
        (KVK + "[kvk.paths]\nnaamgeving = '/v1/x'\n", "one {number} in it"),
        ("[http]\nuser_agent = 'Mozilla/5.0'\n", "say honestly who calls"),
        ("[http]\nuser_agent = 'a\\u000d'\n".replace("'", '"'), "only printable ASCII"),
        ("[http]\ncontact = 'ops'\n", "mailto:ops@example.org"),
        ('[run]\nretry_base = "1 h"\n', 'run.retry_base = "1 h": it is longer than retry_cap'),
    ],
)  # fmt: skip
def test_a_problem_names_key_value_and_remedy(text: str, said: str) -> None:
    refusal = _refusal(text)
    assert str(FILE) in refusal
    assert said in refusal


def test_several_problems_are_reported_together() -> None:
    refusal = _refusal('[store]\nkeep_free = 5\n[run]\nconcurency = 1\n[log]\nlevel = "loud"\n')
    assert refusal.startswith(f"{FILE} has 3 problems:")
    assert [line.strip().partition(" ")[0].rstrip(":") for line in refusal.splitlines()[1:]] == [
        "store.keep_free", "log.level", "run.concurency",
    ]  # fmt: skip


def test_a_misspelt_key_is_not_reported_as_missing_too() -> None:
    assert "it is missing" not in _refusal(NBB.replace("since", "sinc"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[store\n", "line 1, column 7"),
        ("[store]\npath = \n", "line 2, column 8"),
        ("a = 1\na = 2\n", "line 2"),
        ('a = "x', "line 1"),
    ],
)
def test_what_is_not_toml_is_reported_with_its_line(text: str, where: str) -> None:
    refusal = _refusal(text)
    assert refusal.startswith(f"{FILE}, line ")
    assert where in refusal
    assert "is not TOML" in refusal


# ------------------------------------------------------------------------------------------ keys


@pytest.mark.parametrize(
    "written",
    [
        f'keys = ["{KEY}"]', f'keys = "{KEY}"', f'keys = [["{KEY}"]]', f'keys = ["credential:{KEY}"]',
        f'keys = ["env:{KEY}"]', f'keys = ["key:{KEY}"]', f'keys = ["file:/k/{KEY}"]', f'key = "{KEY}"',
        f'"{KEY}" = 1', f'keys = ["env:A"]\nburst = "{KEY}"', f"keys = {{ a = '{KEY}' }}", 'keys = ["s3cret-word"]',
    ],
)  # fmt: skip
def test_a_literal_key_is_refused_without_being_printed(written: str) -> None:
    refusal = _refusal(NBB.replace('keys = ["env:EXTRACT"]', written))
    assert KEY not in refusal
    assert "s3cret-word" not in refusal
    assert "nbb.products.extract" in refusal


def test_a_password_in_a_url_is_refused_without_being_printed() -> None:
    refusal = _refusal('[http]\nproxy = "http://me:hunter2@proxy:3128"\n')
    assert "hunter2" not in refusal
    assert "remove what stands before the @" in refusal


def test_the_same_key_twice_is_refused() -> None:
    assert "the same key stands there twice" in _refusal(NBB.replace('["env:EXTRACT"]', '["env:A", "env:A"]'))


@given(
    st.text("0123456789abcdefABCDEF", min_size=32, max_size=32),
    st.sampled_from(["log.level", "run.concurrency", "http.proxy"]),
)
def test_no_problem_ever_prints_what_looks_like_a_key(key: str, place: str) -> None:
    section, _, name = place.partition(".")
    refusal = _refusal(f'[{section}]\n{name} = "x {key}"\n')
    assert key not in refusal


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.times()
)
_NAMES = st.sampled_from(
    ["store", "nbb", "run", "http", "log", "keys", "since", "products", "extract", "path", "paths", "authentic", "settles_at"]
) | st.text(max_size=10)  # fmt: skip


_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_the_file_holds_it_is_settings_or_a_problem(table: dict[str, Any]) -> None:
    reader = Reader(Path("/"), Settings, module.NOT_SERVED)
    assert (reader.struct(table, Settings) is None) == bool(reader.problems)


# ------------------------------------------------------------------------------------------ files


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="filingd config init --path"):
        module.load(tmp_path / "none.toml")


def test_a_folder_a_binary_and_a_giant_are_refused_in_words(tmp_path: Path) -> None:
    binary, giant = tmp_path / "b", tmp_path / "g"
    binary.write_bytes(b"a = 1\n\xff")
    giant.write_bytes(b"#" * (1024 * 1024 + 1))
    for path, said in (
        (tmp_path, "cannot be read"),
        (binary, "not UTF-8 at byte 6"),
        (giant, "larger than 1 MiB"),
    ):
        with pytest.raises(ConfigError, match=said):
            module.load(path)


# ------------------------------------------------------------------------------------------ agreement with others


def test_the_defaults_are_those_of_the_registry() -> None:
    nbb = parse(NBB, FILE).nbb
    assert nbb is not None
    ours = {
        **msgspec.structs.asdict(nbb),
        **msgspec.structs.asdict(Settings().run),
        **msgspec.structs.asdict(Settings().transfer),
    }
    optional = NbbRules.__struct_fields__[-len(NbbRules.__struct_defaults__) :]
    defaults = dict(zip(optional, NbbRules.__struct_defaults__, strict=True))
    shared = {name: default for name, default in defaults.items() if name in ours}
    assert len(shared) >= 15
    for name, default in shared.items():
        ours_of_it = frozenset(ours[name]) if isinstance(default, frozenset) else ours[name]
        assert ours_of_it == default, name


def test_every_operation_of_the_registry_can_be_replaced() -> None:
    replaceable = {
        (product.encode_name, operation.encode_name)
        for product in msgspec.structs.fields(module.NbbPaths)
        for operation in msgspec.structs.fields(section_of(product.type) or type(product))
    }
    assert {product for product, _ in replaceable} == set(module.PRODUCTS)
    assert replaceable == set(DEFAULT_OPERATIONS)


@pytest.mark.parametrize(
    ("products", "families"),
    [
        (("extract",), {"authentic"}),
        (("authentic-archive",), {"authentic"}),
        (("improved",), {"improved"}),
        (("extract", "improved-archive"), {"authentic", "improved"}),
        (module.PRODUCTS, {"authentic", "improved"}),
    ],
)
def test_a_family_of_days_is_wanted_if_a_product_of_it_is_subscribed(
    products: tuple[str, ...], families: set[str]
) -> None:
    sections = "".join(f"[nbb.products.{name}]\nkeys = ['env:A']\n" for name in products)
    settings = parse(f"[nbb]\nsince = 2024-01-01\n{sections}", FILE)
    assert settings.nbb is not None
    assert {family.name for family in settings.nbb.families} == families
    assert tuple(settings.subscriptions) == products


@pytest.mark.parametrize("product", ["authentic-query", "improved"])
def test_companies_may_be_all_that_is_wanted(product: str) -> None:
    nbb = parse(NBB.replace("extract", product).replace("since", "improved = []\nsince"), FILE).nbb
    assert nbb is not None
    assert nbb.families == {}
    assert nbb.knows_companies


def test_each_watchlist_has_terms_of_its_own_and_the_defaults_for_the_rest() -> None:
    nbb = parse(NBB + "[nbb.watch.clients]\nlatest = 3\n[nbb.watch.'a b']\nimproved = true\n", FILE).nbb
    assert nbb is not None
    assert nbb.watch["clients"].terms == NbbTerms(latest=3)
    assert nbb.watch["a b"].terms == NbbTerms(improved=True)
    assert nbb.watchlists == FILE.parent / "watchlists"
    elsewhere = parse(NBB.replace("since", "watchlists = '/srv/lists'\nsince"), FILE).nbb
    assert elsewhere is not None
    assert elsewhere.watchlists == Path("/srv/lists")


@pytest.mark.parametrize("since", ["0024-01-01", "1969-12-31", "2101-01-01", "9999-12-31"])
def test_a_first_day_in_a_mistyped_year_is_refused_with_its_value_and_what_to_write(since: str) -> None:
    text = _refusal(NBB.replace("2024-01-01", since))
    assert text.startswith(f"{FILE}: nbb.since = {since}: ")
    assert "write a date between 1970-01-01 and 2100-12-31, such as 2024-01-01" in text


@pytest.mark.parametrize("since", ["1970-01-01", "2100-12-31"])
def test_the_first_and_the_last_possible_day_are_accepted(since: str) -> None:
    nbb = parse(NBB.replace("2024-01-01", since), FILE).nbb
    assert nbb is not None
    assert nbb.since.isoformat() == since
