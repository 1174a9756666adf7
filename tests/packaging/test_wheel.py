"""The wheel: it builds, holds what it should, installs into a clean environment and runs there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

# Nothing of the surrounding environment may help: no path to the source, no user site, no index.
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "FILINGD_"))
} | {
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONNOUSERSITE": "1",
}


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=CLEAN,
        cwd=cwd,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        ROOT,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds filingd from the wheel.

    A test asks no index, so a path file lends it the dependencies that are installed here. Path files in a lent
    folder are not followed, so that an editable filingd there stays out of sight.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel)
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_holds_the_package_its_types_and_the_shipped_configuration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        shipped = archive.read("filingd/shipped_config/filingd.toml")
    sources = {
        f"filingd/{path.relative_to(ROOT / 'daemon/filingd')}"
        for path in (ROOT / "daemon/filingd").rglob("*.py")
    }
    assert sources <= names
    assert {
        "filingd/py.typed",
        "filingd/shipped_config/filingd.toml",
        "filingd/shipped_config/demo.toml",
    } <= names
    assert shipped == (ROOT / "config/filingd.toml").read_bytes()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top.partition("-")[0] for top in tops} == {"filingd"}
    with zipfile.ZipFile(wheel) as archive:
        assert not [
            name for name in archive.namelist() if "__pycache__" in name or name.endswith((".pyc", ".lock"))
        ]


def test_filingd_runs_from_a_clean_environment(python: Path, tmp_path: Path) -> None:
    where = _run(python, "-c", "import filingd; print(filingd.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(python.parent.parent)
    command = python.with_name("filingd")
    said = _run(command, "--help", cwd=tmp_path)
    assert "Keep a complete, verified and current copy" in said
    assert "config" in said
    assert _run(command, "--version", cwd=tmp_path).startswith("filingd, version ")


def test_the_installed_filingd_finds_its_shipped_configuration(python: Path, tmp_path: Path) -> None:
    command = python.with_name("filingd")
    _run(command, "config", "init", "--path", tmp_path / "filingd.toml", cwd=tmp_path)
    assert "is sound" in _run(command, "config", "check", "--config", tmp_path / "filingd.toml", cwd=tmp_path)
    assert (tmp_path / "filingd.toml").read_bytes() == (ROOT / "config/filingd.toml").read_bytes()
