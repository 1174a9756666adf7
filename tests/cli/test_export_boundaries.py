"""What is exported of a registry, and what is not, the registry says: the command knows none."""

from __future__ import annotations

from pathlib import Path

from filingd.cli import export


def test_the_export_imports_no_registry() -> None:
    assert "filingd.registries" not in Path(export.__file__).read_text(encoding="utf-8")
