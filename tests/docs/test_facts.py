"""Every tag of a figure (F9.5, F§9.5) points to a section of docs/facts.md, and the sheet has no other sections."""

import re
from pathlib import Path

import pytest

import fabmesh
from fabmesh.envs.network.loading import load_scenario

ROOT = Path(fabmesh.__file__).parent
SHEET = ROOT / "docs" / "facts.md"
TAG = re.compile(r"(?<![\w#])F§?(1[01]|[1-9])(\.\d)?(?![\w.]?\d)(?!\w)")
TAGGED = sorted(
    path
    for pattern in ("README.md", "docs/*.md", "configs/**/*.yaml", "envs/**/*.py", "agents/**/*.py", "tests/**/*.py")
    for path in ROOT.glob(pattern)
    if path != SHEET
)


def tags(text):
    """Sections that a text refers to, as `9.5`."""
    return {number + part for number, part in TAG.findall(text)}


def sections():
    """Sections of the sheet, as `9.5`."""
    return set(re.findall(r"^###? F(\d+(?:\.\d)?) ", SHEET.read_text(), re.MULTILINE))


def test_tags_are_read_as_meant():
    assert tags("# F9.5 [A], F§11 and (F3); model §4, #F4 a colour, noqa: F401, 0xF1, F1.") == {"9.5", "11", "3", "1"}


@pytest.mark.parametrize("path", TAGGED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_tag_has_its_section(path):
    assert tags(path.read_text()) <= sections()


def test_every_section_is_used_or_holds_one_that_is():
    lines = [line for line in SHEET.read_text().splitlines() if not line.startswith("#")]
    used = tags("\n".join(lines)).union(*(tags(path.read_text()) for path in TAGGED if path != Path(__file__)))
    assert {part for part in sections() if "." in part} <= used


def test_it_is_linked_from_where_tags_are_explained():
    for page in ("README.md", "docs/scenarios.md", "docs/model.md"):
        assert "facts.md" in (ROOT / page).read_text(), page


def test_figures_of_the_catalogue_are_those_of_the_sheet():
    """The table of F9.5 against the file that is tagged with it."""
    section = SHEET.read_text()[SHEET.read_text().index("### F9.5") :]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| P")]
    products = {product.name: product for product in load_scenario("rotterdam").products}
    assert [row[0].split()[0] for row in rows] == [*products]
    for name, kg, litres, _, _, _, price, an_order, demand in rows:
        product = products[name.split()[0]]
        values = product.kg, product.litres, product.price_eur, product.units_per_order, product.units_per_1000_year
        assert tuple(float(cell) for cell in (kg, litres, price, an_order, demand)) == values, name
