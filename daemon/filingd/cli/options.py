"""What several commands share: where the configuration is, and how it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filingd.core.errors import ConfigError

if TYPE_CHECKING:
    from filingd.adapters.catalogue_reader import CatalogueReader
    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.settings import Settings

DEFAULT_CONFIG = Path("/etc/filingd/filingd.toml")
CONFIG_VARIABLE = "FILINGD_CONFIG"


def config_option(command: Any) -> Any:
    """Add `--config`, which arrives as `config_path`. Without it: $FILINGD_CONFIG, else /etc/filingd/filingd.toml.

    The folder a command is started in never decides what is mirrored.
    """
    return click.option(
        "--config",
        "config_path",
        metavar="FILE",
        type=click.Path(path_type=Path),
        envvar=CONFIG_VARIABLE,
        default=DEFAULT_CONFIG,
        show_default=True,
        show_envvar=True,
        help="The configuration file.",
    )(command)


def json_option(command: Any) -> Any:
    """Add `--json`, which arrives as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def load_settings(path: Path) -> Settings:
    """The settings in a file.

    Raises:
        ConfigError: see `settings.load`.
    """
    from filingd.settings import load

    return load(path)


def opened_manifest(settings: Settings) -> ManifestReader:
    """A look at the manifest, to be closed.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    from filingd.adapters.manifest_reader import ManifestReader

    return ManifestReader(settings.manifest_path)


def opened_catalogue(settings: Settings) -> CatalogueReader:
    """A look at the catalogue, to be closed.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    from filingd.adapters.catalogue_reader import CatalogueReader
    from filingd.core.layout import CATALOGUE_NAME

    return CatalogueReader(settings.store.path / CATALOGUE_NAME)


def shipped_config(name: str) -> Path:
    """A configuration file that comes with filingd: `filingd.toml` or `demo.toml`.

    Raises:
        ConfigError: this installation does not have it.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "shipped_config", package.parent.parent / "config"):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"This installation of filingd lacks {name}. Install it again.")
