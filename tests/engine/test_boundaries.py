"""The engine knows no registry: neither by import nor by word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import filingd.engine

MODULES = sorted(Path(filingd.engine.__path__[0]).glob("*.py"))
# Names of registries and products, places, formats and headers of theirs.
# A filing and its reference are words of `core.catalogue`; the name of a dataset is not.
WORDS = re.compile(
    r"nbb|kvk|cbso|brussels|belgi|dutch|naamgeving|extract\b|archive|references|xbrl|subscription|deposit",
    re.IGNORECASE,
)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_module_of_the_engine_has_a_word_of_any_registry(module: Path) -> None:
    found = [
        f"{module.name}:{number}: {line.strip()}"
        for number, line in enumerate(module.read_text().splitlines(), 1)
        if WORDS.search(line)
    ]
    assert found == []


def test_there_are_modules_to_look_at() -> None:
    assert {"worker.py", "lane.py", "reconciler.py", "rescue.py"} <= {module.name for module in MODULES}
