"""What is wrong in a scenario is refused in one line that helps."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal import MINIMAL, line_of, refused, write
from ranges import CHOICES, RANGES

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.loading import load_scenario, validate
from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.network.schema.scenario import Town

TOWNS = "towns:\n  - {name: Delft, latitude: 52.0067, longitude: 4.3556, population: 95060}"


class Broken(typing.NamedTuple):
    """One change that must be refused: where, and with which words."""

    old: str
    new: str
    key: str
    says: tuple[str, ...]
    line: int | None = None  # default: the first line that differs


def broken(old: str, new: str, key: str, *says: str, line: int | None = None) -> Broken:
    return Broken(old, new, key, says, line)


BROKEN = {
    "unknown key": broken(
        "    pallet: 300", "    palet: 300", "materials[0].palet", "'palet'", "did you mean 'pallet'?"
    ),
    "unknown section": broken("depots:", "depot:", "depot", "'depot'", "did you mean 'depots'?"),
    "missing key": broken("    bulk_eur: 12\n", "", "materials[0].bulk_eur", "missing", line=line_of("  - name: petg")),
    "missing section": broken("description: one of everything\n", "", "description", "missing", line=1),
    "key twice": broken(
        "    pack: 1\n", "    pack: 1\n    pack: 2\n", "materials[0].pack", "twice", "first in line 23"
    ),
    "name twice": broken("  - name: kit", "  - name: petg", "materials[1].name", "'petg'", "materials[0].name"),
    "stream named as product": broken(
        "  - name: C1", "  - name: node", "custom_streams[0].name", "'node'", "products[0]"
    ),
    "variant twice": broken("{name: b,", "{name: a,", "tender_streams[0].variants[1].name", "'a'", "twice"),
    "blank name": broken("name: tiny", "name: ' tiny'", "name", "' tiny'", "visible characters"),
    "empty towns": broken(TOWNS, "towns: []", "towns", "empty"),
    "towns is nothing": broken(TOWNS, "towns:", "towns", "a list", line=4),
    "negative lead time": broken("lead_mean_d: 7", "lead_mean_d: -7", "materials[0].lead_mean_d", "-7", "[0.01, 250]"),
    "lead sd negative": broken("lead_sd_d: 14", "lead_sd_d: -1", "materials[1].lead_sd_d", "-1", "[0, 1000]"),
    "latitude": broken("latitude: 52.0067", "latitude: 152", "towns[0].latitude", "152", "[-90, 90]"),
    "infinite": broken("rate_eur_h: 0.9", "rate_eur_h: .inf", "technologies[0].rate_eur_h", "inf", "finite"),
    "not a number": broken("price_eur: 49", "price_eur: .nan", "products[0].price_eur", "nan", "finite"),
    "unknown technology": broken(
        "technology: FDM, machine_h: 1.1",
        "technology: FMD, machine_h: 1.1",
        "products[0].stages[0].technology",
        "'FMD'",
        "did you mean 'FDM'?",
        "robot",
    ),
    "unknown material": broken(
        "{material: petg, quantity: 0.09",
        "{material: petq, quantity: 0.09",
        "products[0].bom[0].material",
        "'petq'",
        "did you mean 'petg'?",
    ),
    "unknown machine": broken(
        "{FDM: 2, robot: 1}", "{FDM: 2, robbot: 1}", "hubs[0].machines.robbot", "did you mean 'robot'?"
    ),
    "no hub can make it": broken(
        "{FDM: 2, robot: 1}",
        "{FDM: 2}",
        "products[0].stages",
        "FDM and robot together",
        line=line_of("      - {technology: FDM, machine_h: 1"),
    ),
    "machines not whole": broken("{FDM: 2,", "{FDM: 2.5,", "hubs[0].machines.FDM", "2.5", "whole number"),
    "hub without machines": broken("{FDM: 2, robot: 1}", "{FDM: 0, robot: 0}", "hubs[0].machines", "no machine"),
    "hub in no town": broken("  - town: Delft", "  - town: Delf", "hubs[0].town", "'Delf'", "did you mean 'Delft'?"),
    "no technician": broken("technicians: 1", "technicians: 0", "hubs[0].technicians", "0", "[1, 10000]"),
    "shares": broken(
        "{name: b, share: 0.5",
        "{name: b, share: 0.4",
        "tender_streams[0].variants",
        "sum to 0.9",
        line=line_of("      - {name: a,"),
    ),
    "bom stage": broken("quantity: 1, stage: 1", "quantity: 1, stage: 2", "products[0].bom[1].stage", "2", "0 to 1"),
    "bom line of nothing": broken("quantity: 1, stage: 1", "quantity: 0, stage: 1", "products[0].bom[1]", "kit"),
    "too many stages": broken(
        "      - {technology: FDM, machine_h: 1.1, labour_h: 0.03}\n",
        "      - {technology: FDM, machine_h: 1.1, labour_h: 0.03}\n" * 3,
        "products[0].stages",
        "4 entries",
        "at most 3",
        line=line_of("      - {technology: FDM, machine_h: 1.1"),
    ),
    "retail lead time": broken("supply:\n", "supply:\n  retail_lead_d: 4\n", "supply.retail_lead_d", "4", "[1, 3]"),
    "section twice": broken("market:\n", "demand: {}\nmarket:\n", "demand", "twice"),
    "no machine hours": broken("machine_h: 1.1", "machine_h: 0", "products[0].stages[0]", "machine hours"),
    "kit of no product": broken(
        "design_of: node", "design_of: nodes", "materials[1].design_of", "did you mean 'node'?"
    ),
    "retail below bulk": broken("retail_eur: 24", "retail_eur: 10", "materials[0].retail_eur", "10", "bulk_eur (12)"),
    "pack above pallet": broken("    pack: 10", "    pack: 2000", "materials[1].pack", "2000", "pallet (1000)"),
    "kg of a kg": broken("    kg: 1\n", "    kg: 2\n", "materials[0].kg", "2", "1 kg per unit"),
    "unit": broken("unit: kg", "unit: tonne", "materials[0].unit", "'tonne'", "kg, piece"),
    "dispersion": broken("dispersion: 2.0", "dispersion: 1", "demand.dispersion", "1", "[1.001, 1000]"),
    "markup": broken("[-0.15, 0, 0.15]", "[-1, 0, 0.15]", "actions.bid_markups[0]", "-1", "(-1, 1000]"),
    "tender of 17 bits": broken("[10, 60]", "[10, 32768]", "tender_streams[0].units[1]", "32768", "[1, 32767]"),
    "due day of 16 bits": broken("    due_d: 4\n", "    due_d: 40000\n", "products[0].due_d", "40000", "[1, 1000]"),
    "endless look ahead": broken(
        "demand:\n",
        "inventory: {closing_cover_d: 1000000001}\ndemand:\n",
        "inventory.closing_cover_d",
        "1000000001",
        "[0, 1000]",
        line=line_of("demand:\n"),
    ),
    "almost inside": broken(
        "price_eur: 49", "price_eur: 1000000000.0000001", "products[0].price_eur", "1000000000.0000001"
    ),
    "more people than can be": broken(
        "population: 95060", f"population: 1{'0' * 400}", "towns[0].population", "more than 18 digits"
    ),
    "digits for a decimal": broken("price_eur: 49", f"price_eur: 1{'0' * 400}", "products[0].price_eur", "18 digits"),
    "too much demand": broken(
        "units_per_1000_year: 3", "units_per_1000_year: 500000", "products[0].units_per_1000_year", "Delft", "32,767"
    ),
    "too many orders": broken(
        "orders_per_100k_year: 350", "orders_per_100k_year: 1.0e+7", "custom_streams[0].orders_per_100k_year", "at most"
    ),
    "too many tenders": broken(
        "tenders_per_100k_year: 12", "tenders_per_100k_year: 1.0e+6", "tender_streams[0].tenders_per_100k_year", "2,000"
    ),
    "units in no time": broken(
        "machine_h: 0.1,", "machine_h: 0.000001,", "products[0].stages[1]", "1e-06 machine hours"
    ),
    "markups out of order": broken("[-0.15, 0, 0.15]", "[0.15, 0]", "actions.bid_markups", "rise"),
    "price breaks fall": broken("[0.05, 0.25, 1, 5]", "[0.05, 1, 0.25, 5]", "supply.price_breaks_pallets", "rise"),
    "price factors rise": broken(
        "[1, 0.75, 0.45, 0.12, 0]", "[0, 0.12, 0.45, 0.75, 1]", "supply.price_factors", "fall"
    ),
    "a factor too few": broken(
        "[1, 0.75, 0.45, 0.12, 0]", "[1, 0.75, 0.45, 0]", "supply.price_factors", "4 factors for 4"
    ),
    "range upside down": broken("units: [10, 60]", "units: [60, 10]", "tender_streams[0].units", "[60, 10]", "rise"),
    "range of three": broken("units: [10, 60]", "units: [10, 20, 60]", "tender_streams[0].units", "2 values", "3"),
    "due too soon": broken("    due_d: 5", "    due_d: 1", "custom_streams[0].due_d", "1", "too soon"),
    "list for a value": broken("episode_d: 20", "episode_d: [20]", "episode_d", "single value", "a list"),
    "value for a mapping": broken("market:\n  goodwill: 0.05", "market: 0.05", "market", "keys of a Market", "0.05"),
    "text for a number": broken("episode_d: 20", "episode_d: soon", "episode_d", "'soon'", "whole number"),
    "number in quotes": broken("price_eur: 49", "price_eur: '49'", "products[0].price_eur", "'49'", "text"),
    "exponent": broken("pallet: 1000", "pallet: 1e3", "materials[1].pallet", "'1e3'", "text in YAML 1.1", "1.0e+3"),
    "octal": broken("pallet: 1000", "pallet: 01000", "materials[1].pallet", "01000", "octal"),
    "huge whole number": broken("pallet: 1000", f"pallet: {'9' * 400}", "materials[1].pallet", "more than 18 digits"),
    "more digits than Python reads": broken("episode_d: 20", f"episode_d: {'9' * 5000}", "episode_d", "18 digits"),
    "base 60": broken("pallet: 1000", "pallet: 16:40", "materials[1].pallet", "16:40", "base 60"),
    "country code": broken("name: Delft,", "name: no,", "towns[0].name", "no", "true or false", "quote it"),
    "numeric name": broken("name: Delft,", "name: 2026,", "towns[0].name", "2026", "a number", "quote it"),
    "date": broken("label: sensor node", "label: 2026-01-01", "products[0].label", "2026-01-01", "date"),
    "no for a number": broken("episode_d: 20", "episode_d: no", "episode_d", "whole number"),
    "number for a switch": broken(
        "overtime: true", "overtime: 1", "technologies[1].extended_by_overtime", "1", "true nor"
    ),
    "nothing for a number": broken("price_eur: 49", "price_eur:", "products[0].price_eur", "nothing"),
    "payment rule": broken("goodwill: 0.05", "payment: third_price", "market.payment", "third_price", "first_price"),
    "cancelled in the grace": broken("goodwill: 0.05", "cancel_after_d: 1", "market.cancel_after_d", "1", "grace"),
    "component": broken(
        "  bid_markups", "  switched_off: {hub.bids: 0}\n  bid_markups", "actions.switched_off.hub.bids", "hub.bid"
    ),
    "component level": broken(
        "  bid_markups", "  switched_off: {hub.bid: 4}\n  bid_markups", "actions.switched_off.hub.bid", "4", "0 to 3"
    ),
    "python object": broken("label: sensor node", "label: !!python/name:os.system x", "products[0].label", "tag"),
    "merge key": broken("demand:\n", "demand:\n  <<: {dispersion: 3}\n", "demand", "include"),
    "not YAML": broken("episode_d: 20", "episode_d: [20", "", "not valid YAML", line=line_of("towns:")),
    "tab": broken("  dispersion", "\tdispersion", "", "not valid YAML"),
    "select nothing there": broken(
        "episode_d: 20", "episode_d: 20\nselect: {products: [P1]}", "select.products", "no list"
    ),
    "include nothing there": broken(
        "episode_d: 20", "episode_d: 20\ninclude: [gone.yaml]", "include", "no such file", "gone.yaml"
    ),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_refused_where_it_is_wrong(case: Broken, tmp_path: Path) -> None:
    assert MINIMAL.count(case.old) >= 1
    text = MINIMAL.replace(case.old, case.new, 1)
    message = refused(write(tmp_path, text))
    changed = next(
        i for i, (a, b) in enumerate(zip(MINIMAL.split("\n"), text.split("\n"), strict=False), start=1) if a != b
    )
    line = case.line or changed
    where = f"net.yaml:{line}: "
    assert where in message, f"{where!r} not in {message!r}"
    _, _, rest = message.partition(where)
    assert rest.startswith(f"{case.key}: " if case.key else ""), message
    for words in case.says:
        assert words in rest, message


def test_unused_material(tmp_path: Path) -> None:
    text = MINIMAL.replace("      - {material: petg, quantity: 0.09, stage: 0}\n", "")
    text = text.replace("          - {material: petg, quantity_per_eur: 0.004}", "          []")
    assert "materials[0].name: 'petg' is in no bill of materials" in refused(write(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "must be a mapping"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a\x00", "has the character 0x0000"),
        (b'a: "\\UFFFFFFFF"', "is not valid YAML"),
        (b"# " + b"x" * 16_000_001, "is longer than 16,000,000 bytes"),
        (b"user: me\npassword: hunter2\n", ":1: is no scenario: none of its keys is one of"),
    ],
)
def test_file_that_is_no_scenario(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(content)
    assert words in refused(path)


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    assert "did you mean 'rotterdam'?" in refused("roterdam")
    assert "no such file" in refused("nowhere/net.yaml")
    assert "cannot be read" in refused(tmp_path)
    with pytest.raises(ScenarioError, match="not int"):
        load_scenario(3)  # type: ignore[arg-type]  # what a user of untyped code may do


def test_aliases_cannot_explode(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "unfolds to more than" in refused(write(tmp_path, "\n".join(levels)))
    assert "contains it" in refused(write(tmp_path, "towns: &t [*t]\n"))
    assert "nested too deeply" in refused(write(tmp_path, f"towns: {'[' * 2000}{']' * 2000}"))


def test_what_files_include_is_bounded(tmp_path: Path) -> None:
    """Each file includes the next twice: read as often as a chain is long, not as often as it branches."""
    write(tmp_path, MINIMAL, "f30.yaml")
    for i in range(30):
        write(tmp_path, f"include: [f{i + 1}.yaml, f{i + 1}.yaml]\n", f"f{i}.yaml")
    assert load_scenario(tmp_path / "f0.yaml") == load_scenario(tmp_path / "f30.yaml")
    for i in range(150):
        write(tmp_path, f"include: [g{i + 1}.yaml]\n", f"g{i}.yaml")
    write(tmp_path, MINIMAL, "g150.yaml")
    assert "g100.yaml:1: include: more than 100 files" in refused(tmp_path / "g0.yaml")


# --- scenarios made in Python ----------------------------------------------------------------------------------


def test_python_scenarios_are_checked_too() -> None:
    pocket = load_scenario("pocket")
    wrong = dataclasses.replace(pocket, towns=(*pocket.towns, Town("Nowhere", 95.0, 0.0, 10)))
    assert refused(wrong) == "scenario 'pocket': towns[2].latitude: 95 is out of range; allowed: [-90, 90]"
    wrong = dataclasses.replace(pocket, towns=list(pocket.towns))  # type: ignore[arg-type]  # untyped code
    assert "towns: must be a tuple" in refused(wrong)
    with pytest.raises(ScenarioError, match="mine: episode_d"):
        validate(dataclasses.replace(pocket, episode_d=0), source="mine")


def test_a_network_that_memory_cannot_hold_is_refused_before_it_is_made() -> None:
    towns = tuple(Town(f"T{i}", 50.0 + i / 1000, 4.0, 1000) for i in range(2000))
    region = load_scenario("rotterdam")
    wide = dataclasses.replace(region, towns=(*region.towns, *towns[4:]))
    assert validate(wide) is wide
    market = dataclasses.replace(region.market, patience_catalogue_d=1000, patience_custom_d=1000)
    message = refused(dataclasses.replace(wide, market=market))
    assert "market.patience_catalogue_d: one network would take" in message
    assert "at most 1 GiB are possible" in message
    wider = dataclasses.replace(region, towns=(*region.towns, *towns))
    assert "towns: has 2,004 entries; at most 2,000" in refused(wider)


def test_material_comes_in_packs_that_can_be_counted() -> None:
    pocket = load_scenario("pocket")
    crumbs = tuple(dataclasses.replace(m, pack=0.0001) for m in pocket.materials)
    assert validate(dataclasses.replace(pocket, materials=crumbs))
    first, *rest = pocket.products[0].bom
    product = dataclasses.replace(pocket.products[0], bom=(dataclasses.replace(first, quantity=1e6), *rest))
    message = refused(dataclasses.replace(pocket, materials=crumbs, products=(product, *pocket.products[1:])))
    assert "products[0].bom[0]: " in message
    assert "raise the material's pack" in message


def test_whole_numbers_of_any_length_are_refused_in_a_line() -> None:
    message = refused(dataclasses.replace(load_scenario("pocket"), episode_d=10**5000))
    assert "episode_d: a number of more than 15 digits is out of range; allowed: [1, 5000]" in message


# A value each interval of the schema refuses; drawn fields must come out as a refusal naming the field.
POCKET = load_scenario("pocket")
NUMBERS = [(cls, field) for cls, fields in RANGES.items() for field in fields]


def test_every_number_has_a_range_and_every_range_a_number() -> None:
    for cls in (value for value in vars(schema).values() if dataclasses.is_dataclass(value)):
        hints = typing.get_type_hints(cls)
        numbers = {name for name, hint in hints.items() if _holds_numbers(hint)}
        assert numbers == set(RANGES[cls.__name__]), cls.__name__
        assert set(CHOICES[cls.__name__]) <= {name for name, hint in hints.items() if hint is str}


def _holds_numbers(hint: object) -> bool:
    return hint in (int, float) or any(_holds_numbers(part) for part in typing.get_args(hint))


@settings(deadline=None)
@given(data=st.data())
def test_numbers_out_of_range_are_refused(data: st.DataObject) -> None:
    """Any number anywhere in a scenario, pushed out of its interval or made non-finite, is named in the refusal."""
    path, owner, field = data.draw(st.sampled_from(_numbers(POCKET)))
    interval = RANGES[type(owner).__name__][field.split(".")[0]]
    low, high = (float(end) for end in interval[1:-1].split(","))
    outside = [st.floats(max_value=low, exclude_max=interval[0] == "[", allow_nan=False), st.just(math.nan)]
    if math.isfinite(high):
        outside.append(st.floats(min_value=high, exclude_min=interval[-1] == "]", allow_nan=False))
    value = data.draw(st.one_of(outside))
    hint = typing.get_type_hints(type(owner))[field]
    with pytest.raises(ScenarioError) as caught:
        validate(_replaced(POCKET, path, math.floor(value) if hint is int and math.isfinite(value) else value))
    assert path in str(caught.value)


def _numbers(thing: object, path: str = "") -> list[tuple[str, object, str]]:
    """Path, owner and field of every plain number below `thing`."""
    found: list[tuple[str, object, str]] = []
    for field in dataclasses.fields(thing):  # type: ignore[arg-type]  # only called on dataclasses
        value, at = getattr(thing, field.name), f"{path}.{field.name}".lstrip(".")
        if type(value) in (int, float):
            found.append((at, thing, field.name))
        elif dataclasses.is_dataclass(value):
            found += _numbers(value, at)
        elif isinstance(value, tuple):
            parts = [(f"{at}[{i}]", item) for i, item in enumerate(value) if dataclasses.is_dataclass(item)]
            found += [number for where, item in parts for number in _numbers(item, where)]
    return found


def _replaced(thing: typing.Any, path: str, value: object) -> typing.Any:
    head, _, rest = path.partition(".")
    name, _, index = head.partition("[")
    old = getattr(thing, name)
    if index:
        i = int(index[:-1])
        new: object = (*old[:i], _replaced(old[i], rest, value), *old[i + 1 :])
    else:
        new = _replaced(old, rest, value) if rest else value
    return dataclasses.replace(thing, **{name: new})
