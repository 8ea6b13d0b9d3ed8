"""The tables of the documents that follow from the code are up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables import PAGES, TABLES, names_in, with_tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text, f"a table of docs/{page.name} has fallen behind the code: run `make docs`"


def test_every_table_has_one_place() -> None:
    assert sorted(name for page in PAGES for name in names_in(page.read_text(encoding="utf-8"))) == sorted(TABLES)
