"""What customers can order, compiled: work, material and size of every row, and what a unit of it costs and emits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.tables import CATALOGUE, CUSTOM, ROW, TENDER, TENDER_STREAM
from fabmesh.envs.network.compiler.rng import name_key
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, BomLine, Scenario, Stage
from fabmesh.envs.network.schema.sizes import MAX_BOM, MAX_STAGES


def build_rows(scenario: Scenario) -> tuple[NDArray[np.void], NDArray[np.float64], NDArray[np.void]]:
    """Rows without their costs, the cumulative share of each inside its stream, and the tender streams."""
    market = scenario.market
    technologies = {t.name: k for k, t in enumerate(scenario.technologies)}
    materials = {m.name: i for i, m in enumerate(scenario.materials)}
    records: list[NDArray[np.void]] = []
    shares: list[float] = []

    def add(name: str, kind: int, stages: tuple[Stage, ...], bom: tuple[BomLine, ...]) -> NDArray[np.void]:
        if len(stages) > MAX_STAGES:
            raise ScenarioError(f"{name}: {len(stages)} stages, at most {MAX_STAGES} are possible")
        if len(bom) > MAX_BOM:
            raise ScenarioError(f"{name}: {len(bom)} lines in the bill of materials, at most {MAX_BOM} are possible")
        r = np.zeros(1, ROW)
        r["kind"], r["stages"], r["bom"] = kind, len(stages), len(bom)
        for s, stage in enumerate(stages):
            tending = 1.0 / next(t.machines_per_technician for t in scenario.technologies if t.name == stage.technology)
            r["tech"][0, s] = technologies[stage.technology]
            r["machine0"][0, s], r["machine1"][0, s] = stage.machine_h, stage.machine_h_per_eur
            r["labour0"][0, s] = stage.labour_h + tending * stage.machine_h
            r["labour1"][0, s] = stage.labour_h_per_eur + tending * stage.machine_h_per_eur
        for i, line in enumerate(bom):
            r["bom_material"][0, i], r["bom_stage"][0, i] = materials[line.material], line.stage
            r["bom0"][0, i], r["bom1"][0, i] = line.quantity, line.quantity_per_eur
        r["per_stop"], r["key"] = 1.0, name_key(name)
        records.append(r)
        shares.append(1.0)
        return r

    def longest(r: NDArray[np.void], price: float) -> int:
        hours = r["machine0"][0] + r["machine1"][0] * price
        return int(r["tech"][0, int(np.argmax(hours[: r["stages"][0]]))])

    for p in scenario.products:
        r = add(p.name, CATALOGUE, p.stages, p.bom)
        r["kg0"], r["litres0"], r["price"], r["per_stop"] = p.kg, p.litres, p.price_eur, p.units_per_order
        r["due_d"], r["patience_d"], r["ceiling"] = p.due_d, market.patience_catalogue_d, market.ceiling_catalogue
        r["season"], r["season_peak"] = p.season_amplitude, p.season_peak_day
        r["royalty"] = p.royalty
        r["life_d"] = WORKING_DAYS_PER_YEAR * (scenario.demand.life_year if p.life_year is None else p.life_year)
        r["lane"] = longest(r, p.price_eur)
    for custom in scenario.custom_streams:
        mean = custom.price_median_eur * math.exp(custom.price_sigma**2 / 2)
        for v in custom.variants:
            r = add(f"{custom.name}/{v.name}", CUSTOM, v.stages, v.bom)
            r["kg1"], r["litres1"], r["price"], r["price_spread"] = (
                custom.kg_per_eur,
                custom.litres_per_eur,
                mean,
                math.exp(custom.price_sigma**2) - 1.0,
            )
            r["due_d"], r["patience_d"], r["ceiling"] = custom.due_d, market.patience_custom_d, market.ceiling_custom
            r["lane"] = longest(r, mean)
    streams = np.zeros(len(scenario.tender_streams), TENDER_STREAM)
    for i, tender in enumerate(scenario.tender_streams):
        rate = tender.tenders_per_100k_year * scenario.demand.tender_level / 1e5 / WORKING_DAYS_PER_YEAR
        streams[i] = (
            rate,
            *tender.units,
            *tender.price_eur,
            *tender.due_d,
            len(records),
            len(tender.variants),
            name_key(tender.name),
        )
        cumulative = 0.0
        for v in tender.variants:
            r = add(f"{tender.name}/{v.name}", TENDER, v.stages, v.bom)
            cumulative += v.share
            shares[-1] = cumulative
            mean = sum(tender.price_eur) / sum(tender.units)
            r["kg1"], r["litres1"] = tender.kg_per_eur, tender.litres_per_eur
            r["per_stop"] = sum(tender.units) / 2  # a tender is one delivery
            r["ceiling"], r["lane"] = 1.0, longest(r, mean)
        shares[-1] = 2.0  # the last variant takes what rounding leaves
    rows = np.concatenate(records)
    for r in rows:
        on_lane = (r["tech"] == r["lane"]) & (np.arange(MAX_STAGES) < r["stages"])
        r["lane0"], r["lane1"] = r["machine0"][on_lane].sum(), r["machine1"][on_lane].sum()
    return rows, np.array(shares), streams


def add_standard_costs(
    scenario: Scenario, row: NDArray[np.void], tech: NDArray[np.void], mat: NDArray[np.void]
) -> None:
    """Standard cost (bulk material, standard hours, no overtime; model §9) and the cost of a set-up."""
    wage = scenario.labour.wage_eur_h
    for r in range(len(row)):
        for constant, machine, labour, bom in (
            ("standard0", "machine0", "labour0", "bom0"),
            ("standard1", "machine1", "labour1", "bom1"),
        ):
            cost = 0.0
            for s in range(row[r]["stages"]):
                k = row[r]["tech"][s]
                cost += row[r][machine][s] * (tech[k]["rate"] + tech[k]["energy"]) + row[r][labour][s] * wage
            for i in range(row[r]["bom"]):
                cost += row[r][bom][i] * mat[row[r]["bom_material"][i]]["bulk"]
            row[constant][r] = cost
        for s in range(row[r]["stages"]):
            k = row[r]["tech"][s]
            row["setup_eur"][r] += tech[k]["setup_h"] * (tech[k]["rate"] + tech[k]["energy"] + wage)


def add_co2e(row: NDArray[np.void], tech: NDArray[np.void], mat: NDArray[np.void]) -> None:
    """CO2e of a unit's standard machine hours and material, without scrap, set-ups and freight."""
    for r in range(len(row)):
        for constant, machine, bom in (("co2e0", "machine0", "bom0"), ("co2e1", "machine1", "bom1")):
            hours = sum(row[r][machine][s] * tech[row[r]["tech"][s]]["co2e_h"] for s in range(row[r]["stages"]))
            goods = sum(row[r][bom][i] * mat[row[r]["bom_material"][i]]["co2e"] for i in range(row[r]["bom"]))
            row[constant][r] = hours + goods
