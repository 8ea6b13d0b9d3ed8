"""A whole scenario in few lines, for tests that change one thing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Scenario

MINIMAL = """\
name: tiny
description: one of everything
episode_d: 20
towns:
  - {name: Delft, latitude: 52.0067, longitude: 4.3556, population: 95060}
hubs:
  - town: Delft
    machines: {FDM: 2, robot: 1}
    technicians: 1
depots:
  - {name: Ridderkerk, latitude: 51.8725, longitude: 4.6028}
technologies:
  - {name: FDM, hours_per_day: 18, rate_eur_h: 0.9, power_kw: 0.25, setup_h: 0.1, scrap: 0.06,
     machines_per_technician: 17.5, extended_by_overtime: false}
  - {name: robot, hours_per_day: 14, rate_eur_h: 6.5, power_kw: 1, setup_h: 0.33, scrap: 0.015,
     machines_per_technician: 3, extended_by_overtime: true}
materials:
  - name: petg
    unit: kg
    bulk_eur: 12
    retail_eur: 24
    pallet: 300
    pack: 1
    kg: 1
    litres: 0.787
    lead_mean_d: 7
    lead_sd_d: 2
  - name: kit
    unit: piece
    bulk_eur: 8.25
    retail_eur: 11
    pallet: 1000
    pack: 10
    kg: 0.15
    litres: 0.375
    lead_mean_d: 35
    lead_sd_d: 14
    design_of: node
products:
  - name: node
    label: sensor node
    stages:
      - {technology: FDM, machine_h: 1.1, labour_h: 0.03}
      - {technology: robot, machine_h: 0.1, labour_h: 0.05}
    bom:
      - {material: petg, quantity: 0.09, stage: 0}
      - {material: kit, quantity: 1, stage: 1}
    kg: 0.18
    litres: 0.9
    price_eur: 49
    units_per_order: 2.2
    units_per_1000_year: 3
    due_d: 4
custom_streams:
  - name: C1
    label: custom print
    orders_per_100k_year: 350
    price_median_eur: 85
    price_sigma: 0.8
    due_d: 5
    kg_per_eur: 0.003
    litres_per_eur: 0.02
    variants:
      - name: fdm
        share: 1.0
        stages:
          - {technology: FDM, machine_h_per_eur: 0.045}
        bom:
          - {material: petg, quantity_per_eur: 0.004}
tender_streams:
  - name: C3
    label: community part
    tenders_per_100k_year: 12
    units: [10, 60]
    price_eur: [600, 4000]
    due_d: [10, 15]
    kg_per_eur: 0.004
    litres_per_eur: 0.02
    variants:
      - {name: a, share: 0.5, stages: [{technology: FDM, machine_h_per_eur: 0.045}], bom: []}
      - {name: b, share: 0.5, stages: [{technology: robot, machine_h_per_eur: 0.01}], bom: []}
demand:
  dispersion: 2.0
market:
  goodwill: 0.05
supply:
  price_breaks_pallets: [0.05, 0.25, 1, 5]
  price_factors: [1, 0.75, 0.45, 0.12, 0]
actions:
  bid_markups: [-0.15, 0, 0.15]
"""


def line_of(text: str) -> int:
    return MINIMAL[: MINIMAL.index(text)].count("\n") + 1


def write(folder: Path, text: str, name: str = "net.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path | str | Scenario) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert "\n" not in message
    return message
