from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from filingd.core.errors import ConfigError
from filingd.sandbox.settings import PRODUCTS, SandboxSettings, read_table, settings_from

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sclae": 1}, "sclae"),
        ({"scale": 0}, "scale = 0"),
        ({"late_share": 1.5}, "late_share = 1.5 is not a share"),
        ({"filings_on": {"21-07-2026": 0}}, "'21-07-2026' is not a day"),
        ({"publish_at": "five"}, "publish_at = 'five'"),
        ({"published_at": {"2026-11-19": "later"}}, "'later' is not an instant"),
        ({"limits": {"extracts": {"calls": 1}}}, "unknown product 'extracts'"),
        ({"ranges": "sometimes"}, "ranges"),
    ],
)
def test_a_wrong_knob_is_named_with_its_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_from(fields)


def test_each_product_has_two_obviously_fake_keys_of_its_own() -> None:
    keys = SandboxSettings().keys
    flat = [key for pair in keys.values() for key in pair]
    assert list(keys) == list(PRODUCTS)
    assert len(set(flat)) == 10
    assert all(len(key) == 32 and len(set(key)) == 1 for key in flat)
    assert keys["extract"] == ["1" * 32, "2" * 32]
    assert keys["authentic-archive"] == ["3" * 32, "4" * 32]


def test_given_fields_are_laid_over_the_present_ones() -> None:
    first = settings_from({"seed": 9, "empty_day": "204"})
    assert settings_from({"framing": "length"}, first) == settings_from(
        {"seed": 9, "empty_day": "204", "framing": "length"}
    )


def test_the_casing_flips_on_a_day_and_may_flip_back() -> None:
    settings = settings_from(
        {"casing": "pascal", "casing_flips": {"2026-04-10": "camel", "2026-06-01": "mixed"}}
    )
    asked = [dt.date(2026, 4, 9), dt.date(2026, 4, 10), dt.date(2026, 5, 31), dt.date(2026, 6, 1)]
    assert [settings.casing_of(day) for day in asked] == ["pascal", "camel", "camel", "mixed"]


def test_a_settings_file_may_be_toml_or_json_and_is_named_when_it_is_neither(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('seed = 3\nempty_day = "204"\n')
    (tmp_path / "b.json").write_text('{"seed": 3, "empty_day": "204"}')
    (tmp_path / "c.json").write_text("seed = 3")
    assert settings_from(read_table(tmp_path / "a.toml")) == settings_from(read_table(tmp_path / "b.json"))
    with pytest.raises(ConfigError, match=r"c\.json cannot be read"):
        read_table(tmp_path / "c.json")
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        read_table(tmp_path / "none.toml")
