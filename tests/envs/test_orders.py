"""Recorded orders: the tape that a file gives, the round trip, the command lines and the page."""

import csv
import dataclasses
import json
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import vary
from test_orders_file import GOOD, HEADER, MONDAY, order, put

import fabmesh
from fabmesh.envs import hub_network_v0
from fabmesh.envs.errors import OrdersError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema import recorded
from fabmesh.envs.network.schema.recorded import COLUMNS, read_orders, weekday_after
from fabmesh.envs.scenarios.__main__ import main as scenarios_main
from fabmesh.envs.scenarios.orders import order_lines, write_orders
from fabmesh.envs.testing import check_laws, random_actions
from fabmesh.envs.vector import HubNetworkVector
from fabmesh.evaluate import main as evaluate_main

POCKET = load_scenario("pocket")
PAGE = (Path(fabmesh.__file__).parent / "docs" / "orders.md").read_text()


# --- the tape


def watch(batch, seeds, actions_seed=0):
    """Everything a batch shows in an episode and a few days of the next under random legal actions."""
    observed, info = batch.reset(seed=seeds)
    rng = np.random.default_rng(actions_seed)
    seen = []
    for _ in range(batch.scenario.episode_d + 3):
        actions = random_actions(batch, info["action_mask"], rng)
        day = [
            *observed.values(),
            *info["action_mask"].values(),
            info["cost"],
            batch.ledger,
            batch.events,
            batch.state(),
        ]
        if info["_final"].any():
            day += [info[name] for name in ("final_ledger", "final_events", "settlement", "standard_cost")]
            day += list(info["final_obs"].values())
        seen.append([np.array(array) for array in day])
        observed, _, _, _, info = batch.step(actions)
    return seen


CHANGING = {"surges_year": 40.0, "surge_factor": (2.0, 4.0), "surge_d": (3, 9), "life_year": 0.4, "adoption_from": 0.3}
WORLDS = {
    "as shipped": (POCKET, 7),
    "many tenders": (vary(demand={"tender_level": 25.0}, capacity={"open_tenders": 5}), 11),
    "few orders": (vary(demand={"catalogue_level": 0.02, "custom_level": 0.0}), 2),
    "demand that changes": (vary(demand=CHANGING, disruptions={"hub_outage_year": 10.0}), 5),
}


@pytest.mark.parametrize("name", WORLDS)
def test_the_exported_tape_of_a_seed_replays_its_episode_bit_for_bit(tmp_path, name):
    scenario, seed = WORLDS[name]
    path = tmp_path / "new" / "orders.csv"
    written = write_orders(scenario, seed, path)
    batch = HubNetworkVector(scenario, autoreset=False, orders=path)
    assert len(batch.orders.lines) == written > 0
    drawn = HubNetworkVector(scenario, autoreset=False)
    for one in (batch, drawn):
        _, info = one.reset(seed=[seed])
    rng = np.random.default_rng(1)
    tenders = 0
    for day in range(scenario.episode_d + 1):
        for kind in ("lot", "tender"):
            a, b = getattr(batch.arrays, kind), getattr(drawn.arrays, kind)
            count = int(drawn.arrays.clock[f"{kind}s"][0])
            assert batch.arrays.clock[f"{kind}s"][0] == count
            assert a[0, :count].tobytes() == b[0, :count].tobytes()
            tenders += count if kind == "tender" else 0
        if day == scenario.episode_d:
            break
        actions = random_actions(drawn, info["action_mask"], rng)
        mine = batch.step(actions)
        theirs = drawn.step(actions)
        info = theirs[4]
        for role in batch.roles:
            assert mine[0][role].tobytes() == theirs[0][role].tobytes()
            assert mine[1][role].tobytes() == theirs[1][role].tobytes()
            assert mine[4]["action_mask"][role].tobytes() == info["action_mask"][role].tobytes()
        for array in ("ledger", "events"):
            assert getattr(batch, array).tobytes() == getattr(drawn, array).tobytes()
        assert batch.state().tobytes() == drawn.state().tobytes()
    assert tenders > 0
    for name in ("final_ledger", "final_events", "settlement", "standard_cost"):
        assert mine[4][name].tobytes() == info[name].tobytes()
    assert info["settlement"][0] > 0


def test_few_orders_leave_day_0_empty_and_the_exporter_says_so():
    scenario, seed = WORLDS["few orders"]
    first = order_lines(scenario, seed)[0]
    assert first[3] == 0
    assert order_lines(POCKET, 7)[0][3] > 0


def test_a_recorded_world_is_equal_alone_in_batches_and_on_threads(tmp_path):
    path = tmp_path / "orders.csv"
    write_orders(POCKET, 7, path)
    book = read_orders(path, POCKET)
    seeds = [5, 6, 2**40 + 7]
    together = watch(HubNetworkVector(POCKET, num_envs=3, orders=book), seeds)
    threaded = watch(HubNetworkVector(POCKET, num_envs=3, threads=2, orders=path), seeds)
    for one, other in zip(together, threaded, strict=True):
        assert [array.tobytes() for array in one] == [array.tobytes() for array in other]


def new_orders(batch, day, copy=0):
    """What was announced today, lots before tenders, as plain values without names."""
    found = []
    for table, count in ((batch.arrays.lot, "lots"), (batch.arrays.tender, "tenders")):
        for lot in table[copy, : int(batch.arrays.clock[count][copy])]:
            if lot["announced"] == day and lot["again"] == 0:
                values = (lot[name].item() for name in ("row", "town", "units", "price", "due", "last_day", "ceiling"))
                found.append(tuple(values))
    return found


class Reference:
    """What a file means, in plain Python and NumPy's calendar, written from docs/orders.md."""

    def __init__(self, text, scenario):
        self.scenario = scenario
        records = list(csv.DictReader(text.splitlines()))
        self.towns = [town.name for town in scenario.towns]
        self.rows = {}  # name -> (due_d, patience, price, stages, bom)
        market = scenario.market
        for p in scenario.products:
            self.rows[p.name] = (p.due_d, market.patience_catalogue_d, p.price_eur, p.stages, p.bom)
        for c in scenario.custom_streams:
            for v in c.variants:
                self.rows[f"{c.name}/{v.name}"] = (c.due_d, market.patience_custom_d, None, v.stages, v.bom)
        for t in scenario.tender_streams:
            for v in t.variants:
                self.rows[f"{t.name}/{v.name}"] = (sum(t.due_d) // 2, None, None, v.stages, v.bom)
        first = min(self.monday(record["date"]) for record in records)
        self.days = {}
        for record in records:
            announced = self.monday(record["date"])
            day = int(np.busday_count(first, announced))
            due_d, patience, price, stages, _ = self.rows[record["product"]]
            if record["due"]:
                due_d = int(np.busday_count(announced, self.monday(record["due"])))
            last = day + (patience if patience is not None else due_d - len(stages))
            lot = {
                "row": list(self.rows).index(record["product"]), "town": self.towns.index(record["town"]),
                "units": int(record["units"]), "price": float(record["price"] or price), "due": day + due_d,
                "last_day": last, "ceiling": float(record["ceiling"] or 0.0),
            }  # fmt: skip
            self.add(self.days.setdefault(day, []), lot, mergeable=patience is not None)

    @staticmethod
    def monday(text):
        """The date, or the Monday after a weekend."""
        return np.busday_offset(np.datetime64(text), 0, roll="forward")

    @staticmethod
    def add(lots, lot, mergeable):
        """A lot of the same terms grows; tenders and orders of nothing do not."""
        for other in lots:
            if mergeable and all(other[name] == lot[name] for name in lot if name != "units"):
                other["units"] += lot["units"]
                return
        if lot["units"]:
            lots.append(lot)

    def need(self, first, days):
        """Material that so many days from one on ask for, without revisions."""
        need = dict.fromkeys((m.name for m in self.scenario.materials), 0.0)
        for day in range(first, first + days):
            for lot in self.days.get(day, []):
                for line in list(self.rows.values())[lot["row"]][4]:
                    need[line.material] += lot["units"] * (line.quantity + line.quantity_per_eur * lot["price"])
        return list(need.values())


@st.composite
def order_books(draw):
    """Files with lots and tenders, due days, ceilings, prices, weekends, equal terms and zeros."""
    lines = [order(date="2026-03-02", units="1")]
    for _ in range(draw(st.integers(1, 120))):
        announced = MONDAY + timedelta(days=draw(st.integers(0, 163)))
        product = draw(st.sampled_from(["P02", "P02", "P10", "P12", "C2/cnc", "C3/fdm_petg", "C3/cnc"]))
        wait = draw(st.one_of(st.none(), st.integers(3, 30)))
        lines.append(
            order(
                date=announced.isoformat(),
                town=draw(st.sampled_from(["Delft", "Dordrecht"])),
                product=product,
                units=str(draw(st.integers(0, 40))),
                due="" if wait is None else (announced + timedelta(days=wait)).isoformat(),
                ceiling=draw(st.sampled_from(["", "", "60.5", "200"])),
                price=draw(st.sampled_from(["80", "33.25"])) if "/" in product else draw(st.sampled_from(["", "45"])),
            )
        )
    return "\n".join([HEADER, *lines])


@settings(max_examples=12)
@given(text=order_books(), seed=st.integers(0, 2**48))
def test_random_order_books_give_the_reference_tape_and_keep_the_laws(tmp_path_factory, text, seed):
    scenario = vary(demand={"revisions_per_year": 0.0}, disruptions={"hub_outage_year": 8.0})
    reference = Reference(text, scenario)
    path = put(tmp_path_factory.mktemp("orders"), text)
    batch = HubNetworkVector(scenario, num_envs=3, autoreset=False, orders=path)
    _, info = batch.reset(seed=[seed, seed, seed + 1])
    rng = np.random.default_rng(seed % 1000)
    ordered = 0
    for day in range(scenario.episode_d):
        for copy in range(3):  # whatever the seed and whatever was done
            expected = sorted(tuple(lot.values()) for lot in reference.days.get(day, []))
            assert sorted(new_orders(batch, day, copy)) == expected
        ordered += sum(lot["units"] for lot in reference.days.get(day, []))
        assert (batch.events[:, batch.event_names.index("units_ordered")] == ordered).all()
        assert batch.arrays.clock["standard_cost"][0] == batch.arrays.clock["standard_cost"][2]
        check_laws(batch)
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
    check_laws(batch)
    need = reference.need(scenario.episode_d, scenario.inventory.closing_cover_d)
    assert batch._scratch.need[0].tolist() == pytest.approx(need)


def test_a_ceiling_holds_for_the_order_also_after_an_outage(tmp_path):
    scenario = vary(disruptions={"hub_outage_year": 40.0, "hub_outage_median_d": 2.0})
    lines = [dict(zip(COLUMNS, line, strict=True)) | {"ceiling": "5000.0"} for line in order_lines(scenario, 1)]
    path = put(tmp_path, "\n".join([HEADER, *(",".join(map(str, line.values())) for line in lines)]))
    delivered = []
    for orders in (path, None):
        batch = HubNetworkVector(scenario, autoreset=False, orders=orders)
        batch.reset(seed=[1])
        dear = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
        dear["hub"][:, :, batch.spec["hub"].component("bid")] = 5
        dear["hub"][:, :, batch.spec["hub"].component("cover")] = 5
        dear["depot"][:] = 2
        again = 0
        for _ in range(scenario.episode_d):
            batch.step(dear)
            a = batch.arrays
            lots = a.lot[0, : int(a.clock["lots"][0])]
            books = [a.order[0, h, : int(a.hub["orders"][0, h])] for h in range(2)]
            for table in (lots, *books):
                assert (table["ceiling"] == (5000.0 if orders else 0.0)).all()
            again += int(lots["again"].sum())
        assert again > 0
        delivered.append(batch.events[0, batch.event_names.index("units_delivered")])
    assert delivered[0] > delivered[1]  # the rule's ceiling is below the dearest bids of some lots


def test_orders_of_another_scenario_are_refused(tmp_path):
    book = read_orders(put(tmp_path, GOOD), POCKET)
    with pytest.raises(OrdersError, match="other towns or products than 'rotterdam'"):
        HubNetworkVector("rotterdam", orders=book)


def test_the_pettingzoo_view_plays_recorded_orders_of_any_length(tmp_path):
    lines = [order(date=weekday_after(MONDAY, day).isoformat(), units="9") for day in range(140)]
    path = put(tmp_path, "\n".join([HEADER, *lines]))
    with pytest.raises(OrdersError, match="out of the episode"):
        hub_network_v0.parallel_env(scenario="pocket", orders=path)
    env = hub_network_v0.parallel_env(scenario="pocket", orders=path, max_cycles=90)
    env.reset(seed=1)
    days = 0
    while env.agents:
        env.step({agent: np.zeros(env.action_space(agent).shape, np.int64) for agent in env.agents})
        days += 1
    assert days == 90
    assert env.batch.events[0, env.batch.event_names.index("units_ordered")] == 9 * 90


# --- command lines


def test_the_exporter_as_a_user_types_it(tmp_path, capsys):
    path = tmp_path / "orders.csv"
    assert scenarios_main(["orders", "pocket", "--seed", "7", "--out", str(path)]) == 0
    assert f"{path}: 808 orders of pocket, seed 7\n" == capsys.readouterr().out
    rows = list(csv.reader(path.read_text().splitlines()))
    assert rows[0] == list(COLUMNS)
    assert len(rows) == 809
    assert scenarios_main(["orders", "pocket", "--seed", "-1", "--out", str(path)]) == 2
    assert "--seed -1: at least 0 is needed" in capsys.readouterr().err
    assert scenarios_main(["orders", "pocket", "--out", str(path / "below.csv")]) == 2
    assert "cannot write in" in capsys.readouterr().err


def test_evaluation_on_recorded_orders_and_its_manifest(tmp_path, capsys, monkeypatch):
    path, out = tmp_path / "orders.csv", tmp_path / "out"
    write_orders(POCKET, 7, path)
    job = ["--scenario", "pocket", "--policies", "nearest", "idle", "--episodes", "3", "--quiet"]
    assert evaluate_main([*job, "--orders", str(path), "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "orders of orders.csv" in shown.out
    assert "785 lots and 23 tenders on 120 working days from 2026-05-28" in shown.err
    assert "note:" not in shown.err
    made, results = json.loads((out / "manifest.json").read_text()), json.loads((out / "results.json").read_text())
    book = read_orders(path, POCKET)
    assert made["orders"] == {"given": str(path), "file": "orders.csv", "sha256": book.sha256}
    assert (out / "orders.csv").read_bytes() == path.read_bytes()
    assert results["orders"] == {"file": str(path), "sha256": book.sha256}
    units = {policy["name"]: policy["units_ordered"] for policy in results["policies"]}
    inside = int(book.lines["units"][book.lines["day"] < POCKET.episode_d].sum())
    assert all(found["ci95"] == [inside, inside] for found in units.values())

    assert evaluate_main(["--from", str(out / "manifest.json"), "--quiet"]) == 0
    assert "the same numbers as in the manifest, bit for bit" in capsys.readouterr().out
    assert evaluate_main(["--from", str(out / "manifest.json"), "--orders", str(path), "--quiet"]) == 2
    assert "leave out --orders" in capsys.readouterr().err
    put(tmp_path, path.read_text() + order(date="2026-06-01") + "\n")  # the manifest has a copy of its own
    out = out.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert evaluate_main(["--from", "manifest.json", "--quiet"]) == 0
    assert "the same numbers as in the manifest, bit for bit" in capsys.readouterr().out
    put(out, path.read_text())
    assert evaluate_main(["--from", str(out / "manifest.json"), "--quiet"]) == 2
    assert f"orders '{out / 'orders.csv'}' have changed since" in capsys.readouterr().err

    put(tmp_path, GOOD)
    assert evaluate_main([*job, "--orders", str(path)]) == 0
    assert "the last 118 have none" in capsys.readouterr().err
    assert evaluate_main([*job, "--orders", str(put(tmp_path, GOOD.replace("12", "1x")))]) == 2
    assert capsys.readouterr().err == f"error: {path}:2: units: '1x' is not a whole number; write one from 0 to 32767\n"


# --- documentation


def test_the_page_describes_the_columns_and_its_example_works(tmp_path):
    rows = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("| `")]
    assert [(name.strip(" `"), needed.strip() == "yes") for name, needed in rows] == list(COLUMNS.items())
    example = re.search(r"```\n(date,.*?)```", PAGE, re.DOTALL)[1]
    book = read_orders(put(tmp_path, example), load_scenario("rotterdam"))
    assert book.lines["units"].tolist() == [12, 2, 1, 40]
    for name, figure in (("MOST_UNITS", "32767"), ("MOST_DUE_D", "1,000"), ("MOST_WAITING", "10,000")):
        assert figure.replace(",", "") == str(getattr(recorded, name))
        assert figure in PAGE
    assert f"{recorded.MOST_LINES:,} orders" in PAGE
    assert {f.name for f in dataclasses.fields(recorded.RecordedOrders)} >= {"source", "sha256", "first", "lines"}
