"""The file of recorded orders: what is wrong with it, and what its lines and dates mean."""

import re
import unicodedata
from datetime import date, timedelta

import numpy as np
import pytest

from fabmesh.envs.errors import OrdersError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema import recorded
from fabmesh.envs.network.schema.recorded import (
    COLUMNS,
    read_orders,
    weekday_after,
    weekday_number,
    working_day_of_year,
)
from fabmesh.envs.network.schema.yaml_tree import shipped_folder
from fabmesh.envs.scenarios.orders import order_lines

POCKET = load_scenario("pocket")
HEADER = ",".join(COLUMNS)
MONDAY = date(2026, 3, 2)
GOOD = f"{HEADER}\n2026-03-02,Delft,P02,12,,,\n2026-03-03,Dordrecht,C2/cnc,1,,,84.50\n"


def put(folder, text, name="orders.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_names_match_however_unicode_writes_them(tmp_path):
    accents = {form: unicodedata.normalize(form, "Müllheim") for form in ("NFC", "NFD")}
    assert accents["NFC"] != accents["NFD"]
    pocket = (shipped_folder() / "pocket.yaml").read_text(encoding="utf-8").replace("catalogue/", "fabmesh:catalogue/")
    for form, name in accents.items():
        text = re.sub(r"\bDelft\b", name, pocket)
        scenario = load_scenario(put(tmp_path, text, f"{form}.yaml"))
        assert accents["NFC"] in [town.name for town in scenario.towns]
        for written in accents.values():
            orders = read_orders(put(tmp_path, GOOD.replace("Delft", written)), scenario)
            assert len(orders.lines) == 2
            orders.require_fit(scenario)


def order(**changed):
    """A line of a file, good but for what is changed."""
    cells = {"date": "2026-03-03", "town": "Delft", "product": "P02", "units": "3"} | changed
    return ",".join(cells.get(name, "") for name in COLUMNS)


@pytest.mark.parametrize(
    ("changed", "column", "message"),
    [
        ({"town": "Delf"}, "town", "'Delf' is not a town of scenario 'pocket'; did you mean 'Delft'?"),
        ({"product": "p02"}, "product", "'p02' is not a product of scenario 'pocket'; did you mean 'P02'?"),
        ({"product": "C2"}, "product", "did you mean 'C2/cnc'?"),
        ({"units": "-3"}, "units", "'-3' is negative"),
        ({"units": "2.5"}, "units", "'2.5' is not a whole number; write one from 0 to 32767"),
        ({"units": ""}, "units", "'' is not a whole number"),
        ({"units": "\u0661"}, "units", "is not a whole number"),
        ({"units": "40000"}, "units", "'40000' is more than an order can hold; split it"),
        ({"units": "9" * 400}, "units", "999...' is more than an order can hold"),
        ({"date": "03/03/2026"}, "date", "'03/03/2026' is not a date; write it as 2026-03-31"),
        ({"date": "2026-02-30"}, "date", "'2026-02-30' is not a date"),
        ({"date": "20260303"}, "date", "is not a date"),
        ({"date": "2027-03-03"}, "date", "2027-03-03 is out of the episode: that has 60 working days from 2026-03-02"),
        ({"due": "soon"}, "due", "'soon' is not a date"),
        ({"due": "2026-03-02"}, "due", "2026-03-02 is not after the date, 2026-03-03"),
        ({"due": "2026-03-03"}, "due", "goods arrive the next working day at the earliest"),
        ({"due": "2126-03-03"}, "due", "at most 1000 are possible"),
        ({"ceiling": "12 EUR"}, "ceiling", "'12 EUR' is not an amount in EUR; write it as 12.50"),
        ({"ceiling": "0"}, "ceiling", "'0' is out of range; allowed: [0.0001, 1e9]"),
        ({"price": "1e-320"}, "price", "'1e-320' is out of range; allowed: [0.0001, 1e9]"),
        ({"ceiling": "nan"}, "ceiling", "'nan' is not an amount"),
        ({"price": "-4"}, "price", "'-4' is not an amount"),
        ({"price": "1e999"}, "price", "'1e999' is out of range"),
        ({"product": "C2/cnc"}, "price", "is missing; 'C2/cnc' is made to order and has no list price"),
        ({"product": "C3/cnc"}, "price", "is missing; 'C3/cnc' is made to order"),
        ({"units": "3,4"}, "", "8 values, but the header names 7 columns"),
        ({"town": 'De"lft"'}, "town", "is not a town"),
        ({"town": '"Delft'}, "", "is not CSV"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_line_column_and_remedy(tmp_path, changed, column, message):
    path = put(tmp_path, f"{GOOD}\n{order(**changed)}\n")
    with pytest.raises(OrdersError) as refused:
        read_orders(path, POCKET)
    text = str(refused.value)
    assert text.startswith(f"{path}:5: {column}: " if column else f"{path}:5: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; the first line names the columns: date, town, product, units"),
        ("\n\n", "is empty"),
        (HEADER, "holds no orders; write one a line below the header"),
        ("date,town,product\n", ":1: units: the column is missing; needed are date, town, product, units"),
        ("date,town,product,units,town\n", ":1: town: the column is there 2 times; keep one"),
        (
            "root:x:0:0:secret\n",
            ":1: names none of the columns date, town, product, units, due, ceiling, price; the first line",
        ),
        ("date,town,product,unit\n", ":1: unknown column 'unit'; did you mean 'units'?"),
        ("date;town;product;units\n", ":1: columns are separated by commas"),
        (
            b"date,town,product,units\n2026-03-02,D\xfclmen,P02,1\n",
            "is not UTF-8 text (byte 36); save it as CSV in UTF-8",
        ),
    ],
)
def test_files_that_are_no_order_books(tmp_path, content, message):
    path = put(tmp_path, content)
    with pytest.raises(OrdersError, match=re.escape(message)):
        read_orders(path, POCKET)


def test_files_that_are_not_there_or_are_folders(tmp_path):
    with pytest.raises(OrdersError, match=r"nowhere\.csv: no such file"):
        read_orders(tmp_path / "nowhere.csv", POCKET)
    with pytest.raises(OrdersError, match="cannot be read"):
        read_orders(tmp_path, POCKET)


def test_limits_keep_a_hostile_file_small(tmp_path, monkeypatch):
    many = "\n".join(order(ceiling=str(100 + i)) for i in range(30))
    path = put(tmp_path, f"{GOOD}{many}\n")
    assert len(read_orders(path, POCKET).lines) == 32
    monkeypatch.setattr(recorded, "MOST_WAITING", 20)
    with pytest.raises(OrdersError, match="32 lots wait on 2026-03-03, at most 20 can"):
        read_orders(path, POCKET)
    monkeypatch.setattr(recorded, "MOST_LINES", 10)
    with pytest.raises(OrdersError, match=r"orders\.csv:12: more than 10 orders"):
        read_orders(path, POCKET)


def test_orders_with_the_same_terms_are_one_lot_and_tenders_never(tmp_path):
    lines = [
        order(units="3"),
        order(units="4", due="2026-03-06"),  # P02 is due after three days
        order(units="5", due="2026-03-09"),
        order(product="C3/cnc", units="20", price="30"),
        order(product="C3/cnc", units="20", price="30"),
        order(product="C3/fdm_petg", units="10", price="40"),
        order(units="0"),
    ]
    book = read_orders(put(tmp_path, "\n".join([GOOD.strip(), *lines])), POCKET)
    today = book.lines[book.lines["day"] == 1]
    assert today[["row", "units", "due_d", "number", "stream"]].tolist() == [
        (0, 7, 3, 0, -1), (0, 5, 4, 1, -1), (3, 1, 8, 0, -1),
        (5, 20, 12, 0, 0), (5, 20, 12, 1, 0), (4, 10, 12, 2, 0),
    ]  # fmt: skip
    assert book.day_starts().tolist() == [0, 1, 7]
    with pytest.raises(OrdersError, match="add up to more than 32767"):
        read_orders(put(tmp_path, "\n".join([HEADER, order(units="32767"), order()])), POCKET)


def test_the_order_of_lines_and_columns_does_not_matter(tmp_path):
    lines = [dict(zip(COLUMNS, line, strict=True)) for line in order_lines(POCKET, 3)]
    names, shuffled = [*COLUMNS], lines.copy()
    rng = np.random.default_rng(0)
    rng.shuffle(names)
    tenders = [line for line in lines if "C3" in line["product"]]
    rng.shuffle(shuffled)
    shuffled = [line for line in shuffled if line not in tenders] + tenders  # two of a town and day have one name
    text = "\r\n".join([",".join(names), *(",".join(str(line[name]) for name in names) for line in shuffled)])
    one = read_orders(
        put(tmp_path, "\n".join([HEADER, *(",".join(map(str, line.values())) for line in lines)])), POCKET
    )
    other = read_orders(put(tmp_path, b"\xef\xbb\xbf" + text.encode(), "other.csv"), POCKET)
    assert (one.lines == other.lines).all()
    assert one.first == other.first
    assert one.sha256 != other.sha256


def test_weekends_count_as_the_monday_after(tmp_path):
    lines = [order(date="2026-03-06"), order(date="2026-03-07", due="2026-03-14"), order(date="2026-03-09")]
    book = read_orders(put(tmp_path, "\n".join([HEADER, *lines])), POCKET)
    assert book.first == date(2026, 3, 6)
    assert book.lines[["day", "units", "due_d"]].tolist() == [(0, 3, 3), (1, 3, 5), (1, 3, 3)]


def test_weekdays_are_counted_as_numpy_counts_them():
    for days in range(0, 800, 3):
        later = weekday_after(MONDAY, days)
        assert later == np.busday_offset(np.datetime64(MONDAY), days).astype(date)
        assert weekday_number(later) - weekday_number(MONDAY) == days


def test_the_day_of_the_year_has_the_weekday_and_the_season_of_the_date():
    found = set()
    for days in range(5 * 366):
        day = date(2026, 1, 1) + timedelta(days=days)
        if day.weekday() < 5:
            got = working_day_of_year(day)
            assert got % 5 == day.weekday()
            apart = abs(got / 250 - (day.timetuple().tm_yday - 1) / 365.25)
            assert min(apart, 1 - apart) < 0.016  # within four working days
            found.add(got)
    assert found == set(range(250))  # so that the exporter finds a date for every world
