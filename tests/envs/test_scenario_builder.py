"""A scenario of one's own region: the table of towns, where depots go, and the file that is written."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabmesh.envs.errors import FabmeshError, ScenarioError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Town
from fabmesh.envs.scenarios.__main__ import main
from fabmesh.envs.scenarios.builder import DEMAND_LEVEL, plan_region, region_yaml, write_region
from fabmesh.envs.scenarios.places import p_median
from fabmesh.envs.scenarios.towns import read_towns

BENELUX = """\
name,latitude,longitude,population
Amsterdam,52.3740,4.8897,741636
Rotterdam,51.9225,4.4792,868135
Utrecht,52.0908,5.1222,376435
Eindhoven,51.4408,5.4778,235691
Arnhem,51.9800,5.9111,162424
Groningen,53.2192,6.5667,244807
Maastricht,50.8483,5.6889,122378
Antwerp,51.2205,4.4003,529247
Gent,51.0500,3.7167,265086
Brussels,50.8505,4.3488,1019022
Liège,50.6337,5.5675,195278
Luxembourg,49.6098,6.1327,76684
"""


@pytest.fixture
def towns_csv(tmp_path: Path) -> Path:
    path = tmp_path / "towns.csv"
    path.write_text(BENELUX, encoding="utf-8")
    return path


def new(*args: object) -> int:
    return main(["new", *map(str, args)])


# --- the file --------------------------------------------------------------------------------------------------


def test_towns_become_a_scenario(towns_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "lowlands.yaml"
    assert new("--towns", towns_csv, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "lowlands: 12 hubs, 3 depots, 12 products" in printed
    built, shipped = load_scenario(out), load_scenario("benelux")
    assert built.name == "lowlands"
    assert [town.population for town in built.towns] == [town.population for town in shipped.towns]
    assert built.towns[10].name == "Liège"
    for mine, theirs in zip(built.hubs, shipped.hubs, strict=True):  # but for the CNC machines that were calibrated
        assert mine.technicians == theirs.technicians
        assert {**mine.machines, "CNC": 0} == {**theirs.machines, "CNC": 0}
    assert built.demand.catalogue_level == DEMAND_LEVEL
    assert built.products == tuple(replace(product, royalty=0.0) for product in shipped.products)
    assert built.materials == shipped.materials
    assert all(depot.name in printed for depot in built.depots)
    assert main(["check", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["lowlands.yaml"]  # nothing half-written stays


def test_options_of_the_builder(towns_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "my.yaml"
    options = ("--depots", 5, "--name", "No", "--demand-level", 0.8)
    assert new("--towns", towns_csv, "--out", out, *options) == 0
    built = load_scenario(out)
    assert (built.name, len(built.depots), built.demand.catalogue_level) == ("No", 5, 0.8)


def test_the_file_can_be_moved_and_changed(towns_csv: Path, tmp_path: Path) -> None:
    """It names the catalogue by package, not by a path of this machine."""
    out = tmp_path / "my.yaml"
    assert new("--towns", towns_csv, "--out", out) == 0
    text = out.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert all("#" in line for line in text.splitlines() if line.startswith(("  custom_level", "episode_d")))
    moved = tmp_path / "elsewhere" / "other.yaml"
    moved.parent.mkdir()
    moved.write_text(text + "labour:\n  wage_eur_h: 40\n", encoding="utf-8")
    assert load_scenario(moved).labour.wage_eur_h == 40.0
    moved.write_text(text.replace("fabmesh:catalogue/rules", "fabmesh:catalogue/rulez"), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"other\.yaml:\d+: include: no such file: .*rulez\.yaml"):
        load_scenario(moved)


def test_never_overwrites_unasked(towns_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my.yaml"
    out.write_text("mine\n", encoding="utf-8")
    assert new("--towns", towns_csv, "--out", out) == 2
    assert capsys.readouterr().err == f"error: --out {out}: exists; --force replaces it, or give another name\n"
    assert out.read_text(encoding="utf-8") == "mine\n"
    assert new("--towns", towns_csv, "--out", out, "--force") == 0
    assert load_scenario(out).name == "my"


def test_what_does_not_load_is_not_written(tmp_path: Path) -> None:
    out = tmp_path / "my.yaml"
    with pytest.raises(FabmeshError):
        write_region("name: my\n", out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--out", "{}/my.txt"), "must end in .yaml or .yml"),
        (("--out", "{}"), "must end in .yaml or .yml"),
        (("--out", "{}/towns.csv/my.yaml"), "cannot write in"),
        (("--out", "{}/my.yaml", "--depots", "13"), "--depots 13: must be from 1 to the number of towns, 12"),
        (("--out", "{}/my.yaml", "--depots", "0"), "--depots 0: must be from 1"),
        (("--out", "{}/my.yaml", "--demand-level", "0"), "--demand-level 0: is out of range; allowed: [0.001, 1000]"),
        (
            ("--out", "{}/my.yaml", "--demand-level", "nan"),
            "--demand-level nan: is out of range; allowed: [0.001, 1000]",
        ),
        (("--out", "{}/my.yaml", "--name", " a"), "--name: ' a' is not a name"),
    ],
)
def test_bad_options_are_refused(
    args: tuple[str, ...], says: str, towns_csv: Path, tmp_path: Path, only_error: Callable[[], str]
) -> None:
    assert new("--towns", towns_csv, *(arg.format(tmp_path) for arg in args)) == 2
    assert says in only_error()
    assert [path.name for path in tmp_path.iterdir()] == ["towns.csv"]


# --- the table of towns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new_text", "says"),
    [
        ("latitude", "lat", "towns.csv:1: unknown column 'lat'; did you mean 'latitude'?"),
        (",population", "", "towns.csv:1: the column 'population' is missing"),
        ("longitude", "latitude", "towns.csv:1: the column 'latitude' is given twice"),
        ("name,latitude,longitude,population", "name;latitude;longitude;population", "separated by commas"),
        ("Utrecht,52.0908", "Utrecht,52.0908N", "towns.csv:4: latitude: '52.0908N' is not from -90 to 90"),
        ("Utrecht,52.0908", "Utrecht,152.0908", "towns.csv:4: latitude: '152.0908' is not from -90 to 90"),
        ("Utrecht,52.0908", "Utrecht,nan", "towns.csv:4: latitude: 'nan' is not"),
        ("4.4003,529247", "-181,529247", "towns.csv:9: longitude: '-181' is not from -180 to 180"),
        ("235691", '"235,691"', "towns.csv:5: population: '235,691' is not a whole number"),
        ("235691", "235,691", "towns.csv:5: has 5 values for 4 columns"),
        ("235691", "0", "towns.csv:5: population: '0' is not a whole number in [1, 1e9]"),
        ("235691", "9" * 5000, "towns.csv:5: population: "),
        ("Gent,51.0500,3.7167", "Gent,51.2205,4.4003", "towns.csv:10: 'Gent' stands where 'Antwerp' does"),
        ("Gent", "Antwerp", "towns.csv:10: name: 'Antwerp' is used twice, first in line 9"),
        ("Gent", "", "towns.csv:10: name: '' is not a name"),
        ("Gent", "Gent\t", "towns.csv:10: name: 'Gent\\t' is not a name"),
        ("Gent", '"Gent', "is not comma-separated text"),
    ],
)
def test_wrong_table_is_refused_where_it_is_wrong(old: str, new_text: str, says: str, towns_csv: Path) -> None:
    assert old in BENELUX
    towns_csv.write_text(BENELUX.replace(old, new_text, 1), encoding="utf-8")
    with pytest.raises(FabmeshError) as caught:
        read_towns(towns_csv)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"name,latitude,longitude,population\n", "has no towns"),
        (b"name,latitude\xff", "is not UTF-8 text"),
    ],
)
def test_files_that_are_no_table(content: bytes, says: str, towns_csv: Path, tmp_path: Path) -> None:
    towns_csv.write_bytes(content)
    with pytest.raises(FabmeshError, match=says):
        read_towns(towns_csv)
    with pytest.raises(FabmeshError, match="no such file"):
        read_towns(tmp_path / "nowhere.csv")
    with pytest.raises(FabmeshError, match="cannot be read"):
        read_towns(tmp_path)


def test_table_in_any_order_of_columns_with_spaces_and_a_mark(towns_csv: Path) -> None:
    towns_csv.write_bytes(b"\xef\xbb\xbfpopulation, name, longitude, latitude\r\n\r\n95060, Delft, 4.3556, 52.0067\r\n")
    assert read_towns(towns_csv) == (Town("Delft", 52.0067, 4.3556, 95060),)


@settings(max_examples=30, deadline=None)
@given(
    name=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12),
    latitude=st.floats(-90, 90),
    people=st.integers(1, 10**8),
)
def test_any_town_survives(name: str, latitude: float, people: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.getbasetemp() / "any.yaml"
    name = unicodedata.normalize("NFC", name)  # as every name is read
    town = Town(name, latitude, 4.5, people)
    built = write_region(region_yaml(plan_region([town]), name, name), out, force=True)
    assert built.towns == (town,)
    assert built.name == name
    assert load_scenario(out) == built


def test_a_town_given_twice_in_two_normal_forms_is_found(towns_csv: Path) -> None:
    twice = [unicodedata.normalize(form, "Orléans") for form in ("NFC", "NFD")]
    towns_csv.write_text(
        f"name,latitude,longitude,population\n{twice[0]},47.9,1.9,116000\n{twice[1]},48.9,1.9,5\n", encoding="utf-8"
    )
    with pytest.raises(FabmeshError, match="'Orléans' is used twice, first in line 2"):
        read_towns(towns_csv)


def test_a_region_of_small_towns_can_make_everything() -> None:
    """The largest town's hub is M, for S hubs own neither SLS nor robot."""
    towns = [Town("A", 50.0, 5.0, 60_000), Town("B", 50.1, 5.0, 90_000), Town("C", 50.2, 5.0, 149_999)]
    assert [size.name for size in plan_region(towns).sizes] == ["S", "S", "M"]
    larger = [*towns, Town("D", 50.3, 5.0, 150_000), Town("E", 50.3, 5.1, 399_999), Town("F", 50.3, 5.2, 400_000)]
    assert [size.name for size in plan_region(larger).sizes] == ["S", "S", "S", "M", "M", "L"]


# --- where depots go -------------------------------------------------------------------------------------------


def cost(km: np.ndarray, weight: np.ndarray, chosen: tuple[int, ...]) -> float:
    return sum(weight[i] * min(km[i, j] for j in chosen) for i in range(len(weight)))


def random_map(seed: int, towns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 300, (towns, 2))
    return np.sqrt(((at[:, None] - at[None]) ** 2).sum(-1)), np.sqrt(rng.uniform(1e4, 1e6, towns))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), towns=st.integers(1, 8), data=st.data())
def test_few_towns_get_the_best_places(seed: int, towns: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, towns))
    km, weight = random_map(seed, towns)
    best = min(cost(km, weight, chosen) for chosen in itertools.combinations(range(towns), number))
    assert cost(km, weight, p_median(km, weight, number)) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_many_towns_get_places_that_no_exchange_improves(seed: int) -> None:
    km, weight = random_map(seed, 40)
    chosen = p_median(km, weight, 6)
    assert len(set(chosen)) == 6
    assert chosen == p_median(km, weight, 6)
    found = cost(km, weight, chosen)
    for out, into in itertools.product(chosen, range(40)):
        assert cost(km, weight, (*(j for j in chosen if j != out), into)) >= found * (1 - 1e-9)


def test_depots_of_the_benelux(towns_csv: Path) -> None:
    """As F§9.2 has them, but on a hub's town where that has Mechelen, which lies between two."""
    region = plan_region(read_towns(towns_csv))
    assert {"Utrecht", "Liège"} < {depot.name for depot in region.depots}
    assert len(plan_region(region.towns[:2]).depots) == 1


def test_more_towns_than_can_be_are_refused_before_any_distance(
    tmp_path: Path, only_error: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    towns = tmp_path / "many.csv"
    rows = (f"T{i},{i / 1000},{i / 1000},{1000 + i}" for i in range(23_000))
    towns.write_text("name,latitude,longitude,population\n" + "\n".join(rows))
    monkeypatch.setattr("fabmesh.envs.scenarios.builder.road_km", None)
    assert new("--towns", towns, "--out", tmp_path / "a" / "mine.yaml") == 2
    assert (
        only_error() == "error: --towns: 23,000 towns, at most 500 are possible; keep the largest, or join near ones\n"
    )
    assert not (tmp_path / "a").exists()


def test_a_table_that_is_none_is_not_quoted(tmp_path: Path, only_error: Callable[[], str]) -> None:
    towns = tmp_path / "other.csv"
    for text in ("root:secret:0,secret\n", "secret;secret\n" * 99, "secret" * 99):
        towns.write_text(text)
        assert new("--towns", towns, "--out", tmp_path / "mine.yaml") == 2
        said = only_error()
        assert said.startswith(f"error: {towns}:1: ")
        assert "secret" * 11 not in said
