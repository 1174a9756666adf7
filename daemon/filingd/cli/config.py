"""`filingd config`: check a configuration, print its schema, write a first one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.beginning import remarks_on_beginning
from filingd.cli.options import DEFAULT_CONFIG, config_option, json_option, load_settings, shipped_config
from filingd.core.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filingd.settings import NbbSettings, ProductSettings, Settings
    from filingd.settings_kvk import KvkKeySettings, KvkSettings

_TEST_BASE = "/test/api"
PRESENT, MISSING, UNKNOWN = "present", "missing", "unknown"


@click.group()
def config() -> None:
    """Check a configuration, print its schema, or write a first one."""


# ------------------------------------------------------------------------------------------ check


@config.command()
@config_option
@json_option
def check(config_path: Path, as_json: bool) -> int:
    """Say what is configured and whether every key is there; no key is printed.

    Exit code 0: the daemon can start with it. 3: it cannot, and the text says why.
    """
    settings = load_settings(config_path)
    report = _report(config_path, settings)
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_told(report)))
    return ExitCode.OK if report["ok"] else ExitCode.CONFIG


def _report(path: Path, settings: Settings) -> dict[str, Any]:
    from filingd.core.units import format_size

    remarks = [*_remarks(settings), *remarks_on_beginning(settings, time.time())]
    nbb = None if settings.nbb is None else _nbb_report(settings, settings.nbb)
    kvk = None if settings.kvk is None else _kvk_report(settings.kvk)
    keys = [] if nbb is None else [key for product in nbb["products"].values() for key in product["keys"]]
    keys += [] if kvk is None else kvk["keys"].values()
    return {
        "ok": (nbb is not None or kvk is not None) and all(key["state"] != MISSING for key in keys),
        "config": str(path),
        "store": str(settings.store.path),
        "keep_free": format_size(settings.store.keep_free_bytes),
        "log": str(settings.log_file or "standard output"),
        "user_agent": settings.http.agent,
        "nbb": nbb,
        "kvk": kvk,
        "remarks": remarks,
    }


def _nbb_report(settings: Settings, nbb: NbbSettings) -> dict[str, Any]:
    return {
        "base_url": nbb.base_url,
        "since": nbb.since.isoformat(),
        "datasets": {family.name: list(datasets) for family, datasets in nbb.families.items()},
        "products": {name: _product_report(product) for name, product in settings.subscriptions.items()},
    }


def _product_report(product: ProductSettings) -> dict[str, Any]:
    return {
        "calls_per_second": product.calls_per_second,
        "burst": product.burst,
        "concurrency": product.concurrency,
        "keys": [_key_report(reference, os.environ) for reference in product.keys],
    }


def _kvk_report(kvk: KvkSettings) -> dict[str, Any]:
    return {
        "base_url": kvk.base_url,
        "calls_per_second": kvk.calls_per_second,
        "burst": kvk.burst,
        "concurrency": kvk.concurrency,
        "timezone": kvk.timezone,
        "watchlists": str(kvk.watchlists),
        "keys": {name: _kvk_key_report(key) for name, key in kvk.keys.items()},
        "watch": {name: list(terms.parts) for name, terms in kvk.watch.items()},
    }


def _kvk_key_report(key: KvkKeySettings) -> dict[str, Any]:
    return {
        **_key_report(key.key, os.environ),
        "calls_per_month": key.calls_per_month,
        "budget_per_month_eur": key.budget_per_month_eur,
        "price_per_call_eur": key.price_per_call_eur,
        "paid_calls_per_month": _paid_calls(key),
        "spread": key.spread,
    }


def _paid_calls(key: KvkKeySettings) -> int:
    """How many paid calls a month allows, by the budget and by the number of calls."""
    from filingd.core.ledger import MICROEUR_PER_EUR

    price = round(key.price_per_call_eur * MICROEUR_PER_EUR)
    budget = round(key.budget_per_month_eur * MICROEUR_PER_EUR)
    return min(key.calls_per_month, budget // price) if price else key.calls_per_month


def _key_report(reference: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Whether a key is there. A systemd credential cannot be seen from a shell, which is no fault of it."""
    from filingd.adapters.secrets import KeyUnreadableError, read_key
    from filingd.app import PUBLIC_KEYS

    if reference.startswith("credential:") and "CREDENTIALS_DIRECTORY" not in environment:
        return {"key": reference, "state": UNKNOWN, "detail": "systemd hands it over when the service starts"}
    try:
        read_key(reference, environment, PUBLIC_KEYS)
    except KeyUnreadableError as error:
        return {"key": reference, "state": MISSING, "detail": str(error)}
    return {"key": reference, "state": PRESENT, "detail": ""}


def _remarks(settings: Settings) -> Iterator[str]:
    if settings.http.contact is None and settings.http.user_agent is None:
        yield "http.contact is not set: the registry cannot tell you when something is wrong with your calls."
    if settings.nbb is None and settings.kvk is None:
        yield "No registry is configured: there is nothing to mirror. Write an [nbb] or a [kvk] section."
    if settings.kvk is not None:
        yield from _kvk_remarks(settings.kvk)
    if settings.nbb is None:
        return
    for family in settings.nbb.families:
        if family.current not in settings.subscriptions:
            yield f"nbb.products.{family.current} is not configured: days younger than about a month come late, from the archive."
        if family.archive not in settings.subscriptions:
            yield f"nbb.products.{family.archive} is not configured: days older than about a month cannot be had."


def _kvk_remarks(kvk: KvkSettings) -> Iterator[str]:
    for name, key in kvk.keys.items():
        if not _paid_calls(key):
            yield (
                f"kvk.keys.{name}: its budget buys no call that costs anything, so nothing but searches is asked with it. Raise "
                "`budget_per_month_eur` or `calls_per_month`."
            )
        if key.key.startswith("public:") and not kvk.base_url.endswith(_TEST_BASE):
            yield f"kvk.keys.{name}: {key.key} opens nothing but KVK's test environment; base_url is {kvk.base_url}."
    for name in kvk.watch:
        if not any((kvk.watchlists / f"{name}{ending}").exists() for ending in (".csv", ".toml")):
            yield f"kvk.watch.{name}: there is neither {name}.csv nor {name}.toml in {kvk.watchlists}."


def _told(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"{report['config']} is sound" + ("." if report["ok"] else ", but not every key is where it says.")
    yield f"  store       {report['store']}, leaving {report['keep_free']} free"
    yield f"  log         {report['log']}"
    yield f"  user agent  {report['user_agent']}"
    if nbb := report["nbb"]:
        yield f"  nbb         {nbb['base_url']}, since {nbb['since']}"
        for family, datasets in nbb["datasets"].items():
            yield f"    {family}: {', '.join(datasets)}"
        for name, product in nbb["products"].items():
            yield (
                f"    {name}: {product['calls_per_second']:g} calls/s, burst {product['burst']}, "
                f"{product['concurrency']} at once"
            )
            for key in product["keys"]:
                detail = f" ({key['detail']})" if key["detail"] else ""
                yield f"      {key['key']}: {key['state']}{detail}"
    if kvk := report["kvk"]:
        yield from _kvk_told(kvk)
    yield from (f"  note: {remark}" for remark in report["remarks"])


def _kvk_told(kvk: Mapping[str, Any]) -> Iterator[str]:
    yield f"  kvk         {kvk['base_url']}, lists and searches in {kvk['watchlists']}"
    yield f"    {kvk['calls_per_second']:g} calls/s, burst {kvk['burst']}, {kvk['concurrency']} at once, over all keys"
    for name, key in kvk["keys"].items():
        detail = f" ({key['detail']})" if key["detail"] else ""
        yield (
            f"    {name}: at most {key['calls_per_month']:,} calls and {key['budget_per_month_eur']:,.2f} EUR a month "
            f"({kvk['timezone']}), {key['paid_calls_per_month']:,} of them at {key['price_per_call_eur']:g} EUR"
        )
        yield f"      {key['key']}: {key['state']}{detail}"
    for name, parts in kvk["watch"].items():
        yield f"    {name}: {', '.join(parts) or 'searched only'}"


# ------------------------------------------------------------------------------------------ schema, init


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, with meanings and defaults."""
    from filingd.settings import schema as settings_schema

    click.echo(json.dumps(settings_schema(), indent=2))


@config.command()
@click.option(
    "--path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="Where to write it. A file that is there already is never touched.",
)
def init(path: Path) -> None:
    """Write a first configuration, with every option explained in place."""
    text = shipped_config("filingd.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already and was left alone. Name another file with --path."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. Make its folder, or name another file with --path."
        ) from None
    click.echo(f"Wrote {path}.")
    click.echo("Set `since` and where your keys are, then run: " + f"filingd config check --config {path}")
