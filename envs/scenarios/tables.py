"""Scenarios and their sheets as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fabmesh.envs.names import shown
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario
from fabmesh.envs.scenarios.sheet import DAYS_PER_CONSIGNMENT, Sheet

WIDTH = 140  # columns of these tables in a file


def overview(scenarios: Iterable[Scenario]) -> Table:
    """One row a scenario."""
    table = _table(
        "Scenarios", ["name", "description"], ["hubs", "depots", "inhabitants", "products", "materials", "days"]
    )
    for scenario in scenarios:
        people = sum(town.population for town in scenario.towns)
        table.add_row(
            scenario.name,
            scenario.description,
            str(len(scenario.hubs)),
            str(len(scenario.depots)),
            f"{people:,}",
            str(len(scenario.products)),
            str(len(scenario.materials)),
            str(scenario.episode_d),
        )
    return table


def sheet_tables(sheet: Sheet) -> Group:
    """The whole sheet."""
    scenario = sheet.scenario
    head = Text(shown(f"{scenario.name}: {scenario.description}"), style="bold")
    note = Text("Expected values of a mean working day: no season, disruptions, expiry, revisions or queues.\n", "dim")
    return Group(
        head,
        note,
        *_spaced(
            _streams(sheet),
            _network_hours(sheet),
            _own_town(sheet),
            _flow(sheet),
            _classes(sheet),
            _lots(sheet),
            _costs(sheet),
        ),
    )


def _streams(sheet: Sheet) -> Table:
    streams = sheet.streams
    table = _table("Demand", ["stream", "what"], ["orders/d", "units/d", "EUR/d", "share"])
    total = streams.eur_day.sum()
    for i, name in enumerate(streams.streams):
        orders, units, eur = streams.orders_day[i], streams.units_day[i], streams.eur_day[i]
        table.add_row(name, streams.labels[i], f"{orders:.2f}", f"{units:.2f}", f"{eur:,.0f}", f"{eur / total:.1%}")
    table.add_section()
    orders, units = streams.orders_day.sum(), streams.units_day.sum()
    table.add_row("all", "", f"{orders:.2f}", f"{units:.2f}", f"{total:,.0f}", "100.0%")
    return table


def _network_hours(sheet: Sheet) -> Table:
    capacity = sheet.capacity
    columns = ["needed h/d", "set-ups h/d", "there h/d", "utilisation", "with set-ups"]
    table = _table("Hours needed and there, network (scrap included)", ["resource"], columns)
    need, there = capacity.town_need_h.sum(axis=0), capacity.hub_hours.sum(axis=0)
    for k, name in enumerate(capacity.resources):
        table.add_row(
            name,
            f"{need[k]:.1f}",
            f"{capacity.setup_h[k]:.1f}",
            f"{there[k]:.1f}",
            _load(capacity.utilisation[k]),
            _load(capacity.utilisation_with_setups[k]),
        )
    table.caption = "Set-ups: one a product, hub and day on which it is worked, each town served by its nearest hub"
    return table


def _own_town(sheet: Sheet) -> Table:
    capacity = sheet.capacity
    title = "Work of a hub's own town / hours of the hub ('none': the town needs what the hub does not own)"
    table = _table(title, ["hub"], list(capacity.resources))
    for i, hub in enumerate(capacity.hubs):
        table.add_row(hub, *(_load(value) for value in capacity.own_town[i]))
    return table


def _flow(sheet: Sheet) -> Table:
    materials = sheet.materials
    scenario = sheet.scenario
    columns = ["use/d", "unit", "EUR/d at bulk", *(f"pack at {hub}" for hub in sheet.capacity.hubs)]
    columns += [f"pallet at {depot.name}" for depot in scenario.depots]
    table = _table("Material: flow, and days of use in a pack and a pallet", ["material"], columns)
    for m, name in enumerate(materials.materials):
        table.add_row(
            name,
            f"{materials.use_day[m]:.2f}",
            scenario.materials[m].unit,
            f"{materials.value_day[m]:,.0f}",
            *(_days(value) for value in materials.pack_days[:, m]),
            *(_days(value) for value in materials.pallet_days[:, m]),
        )
    return table


def _classes(sheet: Sheet) -> Table:
    materials = sheet.materials
    table = _table(
        "Unit price of a depot's lot / bulk price (class of the all-units discount, 0 = dearest)",
        ["depot", "material"],
        [f"{days:g} d" for days in materials.lot_days],
    )
    for j, depot in enumerate(sheet.scenario.depots):
        for m, name in enumerate(materials.materials):
            if materials.depot_use_day[j, m] > 0:
                pairs = zip(materials.lot_price[j, m], materials.lot_class[j, m], strict=True)
                table.add_row(depot.name, name, *(f"{price:.2f} ({level})" for price, level in pairs))
        table.add_section()
    return table


def _lots(sheet: Sheet) -> Table:
    lots, materials = sheet.lots, sheet.materials
    columns = ["lot", "days", "bulk value EUR/year", "price above bulk", "order cost", "freight", "holding"]
    table = _table(
        "Best lot (EOQ with discounts, within the life of the material), shares of bulk value",
        ["depot", "material"],
        columns,
    )
    parts = (lots.price_loss_year, lots.order_year, lots.freight_year, lots.holding_year)
    for j, depot in enumerate(sheet.scenario.depots):
        for m, name in enumerate(materials.materials):
            value = lots.purchase_year[j, m]
            if value > 0:
                shares = (f"{part[j, m] / value:.1%}" for part in parts)
                table.add_row(
                    depot.name, name, f"{lots.lot[j, m]:,.0f}", _days(lots.lot_days[j, m]), f"{value:,.0f}", *shares
                )
        table.add_section()
    value = lots.purchase_year.sum()
    table.add_row("all", "", "", "", f"{value:,.0f}", *(f"{part.sum() / value:.1%}" for part in parts))
    return table


def _costs(sheet: Sheet) -> Table:
    costs = sheet.costs
    table = _table("Cost of the mean day by ledger line", ["line"], ["EUR/d", "kEUR/year", "share"])
    total = costs.eur_day.sum()
    for name, eur in zip(costs.lines, costs.eur_day, strict=True):
        table.add_row(name, f"{eur:,.0f}", f"{eur * WORKING_DAYS_PER_YEAR / 1000:,.0f}", f"{eur / total:.1%}")
    table.add_section()
    table.add_row("all", f"{total:,.0f}", f"{total * WORKING_DAYS_PER_YEAR / 1000:,.0f}", "100.0%")
    table.add_row("logistics", "", "", f"{costs.logistics_share:.1%}")
    table.caption = f"Logistics: order cost and freight; a consignment to each hub every {DAYS_PER_CONSIGNMENT:g} days"
    return table


def _table(title: str, words: list[str], numbers: list[str]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", title_style="bold")
    for name in words:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _spaced(*parts: RenderableType) -> list[RenderableType]:
    return [line for part in parts for line in (part, Text())]


def _load(value: float) -> Text:
    if not np.isfinite(value):
        return Text("none")
    return Text(f"{value:.2f}", style="red" if value > 1 else "yellow" if value > 0.85 else "")


def _days(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "-"
