"""The rules of a scenario in plain Python, written from docs/model.md and not from the kernels.

They read the scenario, never the compiled tables.
"""

import math
from dataclasses import dataclass

from fabmesh.envs.network.books.tables import HORIZON


@dataclass(frozen=True)
class Row:
    """What a customer can order, with its hours and material as functions of the price."""

    stages: tuple
    bom: tuple
    kg: tuple  # (constant, per EUR)
    litres: tuple
    stop: float  # units a customer stop; inf: one delivery
    ceiling: float


def rows(scenario):
    market = scenario.market
    made = [
        Row(p.stages, p.bom, (p.kg, 0), (p.litres, 0), p.units_per_order, market.ceiling_catalogue)
        for p in scenario.products
    ]
    for stream in scenario.custom_streams:
        weights = (0, stream.kg_per_eur), (0, stream.litres_per_eur)
        made += [Row(v.stages, v.bom, *weights, 1, market.ceiling_custom) for v in stream.variants]
    for stream in scenario.tender_streams:
        weights = (0, stream.kg_per_eur), (0, stream.litres_per_eur)
        made += [Row(v.stages, v.bom, *weights, math.inf, 1.0) for v in stream.variants]
    return made


def road_km(scenario, one, other):
    a, b = math.radians(one.latitude), math.radians(other.latitude)
    width = math.radians(other.longitude - one.longitude)
    return (
        scenario.freight.circuity
        * 6371.0088
        * math.acos(min(math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(width), 1.0))
    )


class Reference:
    """The rules of a scenario in plain Python."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.rows = rows(scenario)
        self.technologies = {t.name: t for t in scenario.technologies}
        self.material = {m.name: i for i, m in enumerate(scenario.materials)}
        self.lanes = [t.name for t in scenario.technologies]
        towns = {t.name: t for t in scenario.towns}
        self.km = [[road_km(scenario, towns[h.town], t) for t in scenario.towns] for h in scenario.hubs]

    def machine_h(self, stage, price):
        """Machine hours of a unit at a stage."""
        return stage.machine_h + stage.machine_h_per_eur * price

    def labour_h(self, stage, price):
        """Labour hours of a unit at a stage, tending included."""
        tending = self.machine_h(stage, price) / self.technologies[stage.technology].machines_per_technician
        return stage.labour_h + stage.labour_h_per_eur * price + tending

    def lane(self, row, price):
        """The technology of the longest stage."""
        return max(row.stages, key=lambda stage: self.machine_h(stage, price)).technology

    def hour_eur(self, technology):
        """EUR an hour of a machine with its energy."""
        t = self.technologies[technology]
        return t.rate_eur_h + t.power_kw * self.scenario.labour.energy_eur_kwh

    def production_eur(self, row, price, units, quotes):
        """A hub's estimate of a unit's cost in a lot."""
        wage = self.scenario.labour.wage_eur_h
        eur = sum(quotes[self.material[b.material]] * (b.quantity + b.quantity_per_eur * price) for b in row.bom)
        for stage in row.stages:
            eur += self.machine_h(stage, price) * self.hour_eur(stage.technology) + self.labour_h(stage, price) * wage
            eur += self.technologies[stage.technology].setup_h * (self.hour_eur(stage.technology) + wage) / units
        return eur

    def delivery_eur(self, hub, town, row, price, units):
        """A unit's share of the cheaper of own van and parcel."""
        mile = self.scenario.last_mile
        a_stop = min(row.stop, units)
        extra = max(self.km[hub][town] - mile.van_radius_km, 0)
        van = mile.van_stop_eur + mile.van_eur_km * 2 * extra / mile.van_stops_per_round
        parcel = mile.parcel_eur + mile.parcel_eur_kg * self.parcel_kg(row, price, a_stop)
        return min(van, parcel) / a_stop

    def co2e_kg(self, hub, town, row, price, units):
        """Energy and material of a unit, and its share of the stop's mode, the one that is charged."""
        kg = 0.0
        for stage in row.stages:
            kw = self.technologies[stage.technology].power_kw
            kg += self.machine_h(stage, price) * kw * self.scenario.carbon.grid_kg_kwh
        for b in row.bom:
            co2e = self.scenario.materials[self.material[b.material]].co2e_kg
            kg += co2e * (b.quantity + b.quantity_per_eur * price)
        a_stop = min(row.stop, units)
        return kg + self.stop_co2e(hub, town, row, price, a_stop)[1] / a_stop

    def stop_co2e(self, hub, town, row, price, units):
        """Mode and kg CO2e of a customer stop of so many units."""
        carbon, mile = self.scenario.carbon, self.scenario.last_mile
        extra = 2 * max(self.km[hub][town] - mile.van_radius_km, 0) / mile.van_stops_per_round
        weight = self.parcel_kg(row, price, units)
        if mile.van_stop_eur + mile.van_eur_km * extra <= mile.parcel_eur + mile.parcel_eur_kg * weight:
            return "van", carbon.van_kg_km * (carbon.van_km_stop + extra)
        return "parcel", carbon.parcel_kg * max(1, weight / carbon.parcel_up_to_kg)

    def parcel_kg(self, row, price, units):
        """Chargeable weight of so many units in one parcel."""
        kg = (row.kg[0] + row.kg[1] * price) * units
        litres = (row.litres[0] + row.litres[1] * price) * units
        return max(kg, litres / self.scenario.last_mile.parcel_litres_per_kg)

    def days_under_way(self, hub, town):
        """Days from shipping to the customer."""
        return 2 if self.km[hub][town] > self.scenario.last_mile.two_days_beyond_km else 1

    def late_share(self, days):
        """Share of the price charged for a delivery so many days after the due day."""
        market = self.scenario.market
        return min(market.lateness_cap, market.lateness_per_day * max(days - market.lateness_grace_d, 0))

    def can_make(self, hub, row):
        """Whether a hub has every machine a row needs."""
        return all(self.scenario.hubs[hub].machines.get(stage.technology, 0) > 0 for stage in row.stages)

    def price_of(self, material, quantity):
        """All-units discount: the whole order at the price of its size class."""
        supply = self.scenario.supply
        classes = sorted(zip((0.0, *supply.price_breaks_pallets), supply.price_factors, strict=True))
        factor = [f for least, f in classes if quantity / material.pallet >= least - 1e-9][-1]
        return material.bulk_eur + (material.retail_eur - material.bulk_eur) * factor


class Promises:
    """Hours promised by a hub: every promise is (resource, last day it can be worked, hours)."""

    def __init__(self, reference, hub, overtime):
        self.reference, self.hub, self.overtime = reference, hub, overtime
        self.taken = []
        self.open_rows = set()

    def capacity(self, resource, day):
        """Hours from today to the end of a day (0 = today)."""
        scenario, hub = self.reference.scenario, self.reference.scenario.hubs[self.hub]
        if resource == "people":
            a_day = hub.technicians * scenario.labour.hours_per_day
            return (day + 1) * a_day + self.overtime * a_day
        technology = self.reference.technologies[resource]
        a_day = hub.machines.get(resource, 0) * technology.hours_per_day
        return (day + 1) * a_day + (self.overtime * a_day if technology.extended_by_overtime else 0)

    def last_day(self, row, stage, days):
        """A stage's last day, when every later stage takes a day of its own."""
        return min(days - (len(row.stages) - 1 - stage), HORIZON - 1)

    def kept(self, more):
        """Whether every promise of each resource in `more` can still be kept with it."""
        for resource, first, hours in more:
            for day in range(first, HORIZON):
                promised = sum(h for r, d, h in self.taken if r == resource and d <= day)
                if promised + hours > self.capacity(resource, day) + 1e-9:
                    return False
        return True

    def setup(self, row_index, stage):
        """Set-up hours that a promise of the row adds: none while another is open."""
        return 0.0 if row_index in self.open_rows else self.reference.technologies[stage.technology].setup_h

    def available(self, row_index, price, days, wanted):
        """Brute force: the most units for which no promise is broken."""
        row, ref = self.reference.rows[row_index], self.reference
        if any(self.last_day(row, i, days) < 0 for i in range(len(row.stages))):
            return 0
        for units in range(wanted, 0, -1):
            more = [
                (
                    stage.technology,
                    self.last_day(row, i, days),
                    units * ref.machine_h(stage, price) + self.setup(row_index, stage),
                )
                for i, stage in enumerate(row.stages)
            ]
            people = sum(units * ref.labour_h(s, price) + self.setup(row_index, s) for s in row.stages)
            if self.kept([*more, ("people", min(days, HORIZON - 1), people)]):
                return units
        return 0

    def promise(self, row_index, price, days, todo, setup=True):
        """Takes the hours of an order with `todo` units waiting for each stage."""
        row, ref = self.reference.rows[row_index], self.reference
        passing = 0
        for i, stage in enumerate(row.stages):
            passing += todo[i]
            first = max(self.last_day(row, i, days), 0)
            more = self.setup(row_index, stage) if setup and sum(todo) else 0.0
            self.taken.append((stage.technology, first, passing * ref.machine_h(stage, price) + more))
            self.taken.append(("people", first, passing * ref.labour_h(stage, price) + more))
