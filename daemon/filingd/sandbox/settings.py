"""Every knob of the sandbox, with the default that comes closest to what is known of the real registry.

Where the reference says "unknown", the default is the documented platform behaviour and the knob is there to
rehearse the other possibilities (NBB reference, section 11).
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from filingd.core.errors import ConfigError
from filingd.sandbox.clock import parse_day, parse_instant, parse_local_time
from filingd.sandbox.kvk.settings import KvkSandboxSettings

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

Casing = Literal["camel", "pascal", "mixed"]
EmptyVariant = Literal["404", "200-empty", "empty-zip", "204", "dirs-only"]
Framing = Literal["length", "chunked"]
RangeMode = Literal[
    "off",  # no Accept-Ranges, no ETag, Range ignored
    "correct",  # strong ETag, If-Range honoured, 206, 416 past the end
    "weak_etag",  # as correct, but the ETag is weak, so that If-Range never matches
    "full_for_partial",  # promises ranges and then answers 200 with everything
    "changed_etag",  # 206 of another body under another ETag
    "always_416",
    "wrong_start",  # Content-Range and bytes start elsewhere than asked
    "wrong_total",  # Content-Range tells another total
    "wrong_bytes",  # right headers, other bytes
]

PRODUCTS = ("authentic-query", "extract", "improved", "authentic-archive", "improved-archive")


def _default_keys() -> dict[str, list[str]]:
    digits = iter("561278349a")
    return {product: [next(digits) * 32, next(digits) * 32] for product in PRODUCTS}


class Limit(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A published limit of one product. 0 calls means no limit. Windows slide; refused calls do not count."""

    calls: int = 0
    window_s: float = 1.0  # real seconds
    quota_calls: int = 0
    quota_window_s: float = 86_400.0  # sandbox seconds


class SandboxSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Knobs of the sandbox. All may change while it runs (admin port, PUT /settings).

    Keys of mappings called `..._on` and of `published_at`, `casing_flips` are publication days, `YYYY-MM-DD`.
    """

    # What the registry holds
    seed: int = 1
    scale: float = 0.02  # 1.0 is the real number of filings (NBB reference, section 9)
    document_scale: float = (
        0.0  # size of PDFs and of the big XBRL against reality; 0 follows `scale`, at least 0.05
    )
    pdf_only_share: float = 0.04  # `-p` filings, without JSON or XBRL
    missing_enterprise_share: float = 0.01
    correction_share: float = 0.03
    unexplained_gap_share: float = 0.0  # plain models without JSON and XBRL (section 15.2)
    foreign_currency_share: float = 0.003  # companies whose accounts are in USD, GBP or CHF
    late_share: float = 0.01  # of a day's filings, shown only `late_after_s` after the day opened
    late_after_s: float = 7 * 3600.0
    saturday_share: float = 0.02
    sunday_share: float = 0.0
    holiday_share: float = 0.0
    filings_on: dict[str, int] = msgspec.field(default_factory=dict)
    big_xbrl_bytes: int = 2_000_000
    big_xbrl_every_days: int = 5
    public_url: str = ""  # host in AccountingDataURL; empty: the sandbox's own base URL

    # What the bank makes of it afterwards (section 6.6)
    corrected_share: float = 0.02  # of the filings with figures
    extracted_share: float = 0.6  # of the filings filed as PDF
    unlisted_extraction_share: float = 0.1  # of the extracted ones: a document without a reference line
    improved_unknown_label_share: float = 0.0  # of the improved filings, labelled `improved_unknown_label`
    improved_unknown_label: str = "restated-authentic"
    improved_both_label: str = "aa-corrected"  # if annual accounts and social balance are corrected at once
    improved_both_data: str = "AA"  # CorrectedData of the one line that stands for both
    improved_casing: Casing | None = None  # of improved references; none: as the authentic ones

    # When it shows it
    publish_at: str = "05:00"  # Brussels, on D+1
    published_at: dict[str, str | float] = msgspec.field(default_factory=dict)  # single days, instants
    extract_max_age_days: int = 30
    archive_min_age_days: int = 28
    archive_years: int = 3
    archive_edge_shift_days: int = 0  # positive: the archive forgets that many days later

    # Statuses that nobody has measured
    status_today: int = 400
    status_future: int = 400
    status_malformed: int = 400
    status_out_of_window: int = 404
    status_not_yet: int = 404
    empty_day: EmptyVariant = "404"
    no_references: Literal["404", "empty-array"] = "404"  # a company or filing of which nothing is known
    wrong_product_status: Literal[401, 403] = 401
    strict_request_id: bool = False

    # Shape of the payloads
    casing: Casing = "camel"  # of the objects in references zips
    casing_flips: dict[str, Casing] = msgspec.field(default_factory=dict)  # from that publication day on
    reference_names: Literal["plain", "suffixed"] = (
        "plain"  # {ref}.json or {ref}-reference.json (section 15.8)
    )
    zip_method: Literal["deflate", "stored"] = "deflate"
    zip64: Literal["auto", "forced"] = "auto"
    zip_descriptors: bool = True  # sizes after the data (bit 3), as a streaming server writes them
    zip_folder: str = ""

    # Shape of the answers
    framing: Framing = "chunked"
    content_type: str = "echo"  # or a literal media type, or empty for none
    content_disposition: bool = False
    ranges: RangeMode = "off"
    latency_ms: float = 0.0
    limits: dict[str, Limit] = msgspec.field(default_factory=dict)
    keys: dict[str, list[str]] = msgspec.field(default_factory=_default_keys)

    # The other registry
    kvk: KvkSandboxSettings = KvkSandboxSettings()

    # The sandbox itself
    cache_bytes: int = 256 * 1024 * 1024
    stream_above_bytes: int = 64 * 1024 * 1024  # larger days are generated while they are sent, never held

    def __post_init__(self) -> None:
        for table in (self.filings_on, self.published_at, self.casing_flips):
            for text in table:
                _check_day(text)
        for value in self.published_at.values():
            parse_instant(value)
        parse_local_time(self.publish_at)
        _check_shares(self)
        _check_products(self.limits, "limits")
        _check_products(self.keys, "keys")

    @property
    def publish_time(self) -> dt.time:
        """`publish_at` as a time."""
        return parse_local_time(self.publish_at)

    @property
    def effective_document_scale(self) -> float:
        """Size of big documents against reality."""
        return self.document_scale or min(1.0, max(0.05, self.scale))

    def casing_of(self, day: dt.date, *, improved: bool = False) -> Casing:
        """The casing of a publication day: that of the last flip on or before it."""
        if improved and self.improved_casing is not None:
            return self.improved_casing
        flips = [text for text in sorted(self.casing_flips) if text <= day.isoformat()]
        return self.casing_flips[flips[-1]] if flips else self.casing


def _check_day(text: str) -> None:
    try:
        parse_day(text)
    except ValueError as error:
        raise ConfigError(f"sandbox settings: {text!r} is not a day. Write YYYY-MM-DD.") from error


def _check_shares(settings: SandboxSettings) -> None:
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name.endswith("_share") and not 0.0 <= value <= 1.0:
            raise ConfigError(
                f"sandbox settings: {name} = {value} is not a share. Write a number from 0 to 1."
            )
    if settings.scale <= 0:
        raise ConfigError(
            f"sandbox settings: scale = {settings.scale} must be above 0; 1.0 is the real registry."
        )


def _check_products(table: dict[str, Any], field: str) -> None:
    for product in table:
        if product not in PRODUCTS:
            raise ConfigError(
                f"sandbox settings: {field} names the unknown product {product!r}. "
                f"Known: {', '.join(PRODUCTS)}."
            )


def settings_from(fields: dict[str, Any], base: SandboxSettings | None = None) -> SandboxSettings:
    """`base` (or the defaults) with `fields` laid over it, those of `kvk` one by one; raises `ConfigError` naming the
    field.
    """
    present = msgspec.to_builtins(base or SandboxSettings())
    merged = present | fields
    if isinstance(fields.get("kvk"), dict):
        merged["kvk"] = present["kvk"] | fields["kvk"]
    try:
        return msgspec.convert(merged, SandboxSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"sandbox settings: {error}.") from error


def read_table(path: Path) -> Any:
    """The content of a JSON or TOML file (by its suffix); raises `ConfigError` naming the file."""
    try:
        raw = path.read_bytes()
        return tomllib.loads(raw.decode()) if path.suffix == ".toml" else msgspec.json.decode(raw)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}. It must be JSON, or TOML if its name ends in .toml."
        ) from error
