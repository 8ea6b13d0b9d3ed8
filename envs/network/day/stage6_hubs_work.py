"""Stage 6, hubs work: upkeep, then orders by the dispatching rule, then make-to-stock (model §7)."""

from __future__ import annotations

import math

import numpy as np

from fabmesh.envs.network.books.accounts import BATCH_BEGINS, MACHINE_H, Event, Line
from fabmesh.envs.network.books.ledger import post
from fabmesh.envs.network.books.ranking import rank_by_bucket, rank_by_key
from fabmesh.envs.network.books.state import F_SCRAPPED, F_USED, Scratch, State
from fabmesh.envs.network.books.stock import draw, note_oldest, on_hand
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.books.work_content import bom_quantity, labour_h, machine_h
from fabmesh.envs.network.compiler.kernel import inlined, kernel
from fabmesh.envs.network.compiler.rng import STREAM_SCRAP, binomial_quantile, combine, day_key, uniform
from fabmesh.envs.network.day.stage7_goods_move import units_in_progress
from fabmesh.envs.network.interface.actions import MAKE_TO_STOCK, level
from fabmesh.envs.network.mechanisms.experience import practise, qualify
from fabmesh.envs.network.mechanisms.quality import MOST_SCRAP, out_of_tolerance
from fabmesh.envs.network.mechanisms.upkeep import service, take_repairs, wear
from fabmesh.envs.network.schema.scenario import DISPATCHING
from fabmesh.envs.network.schema.sizes import MAX_STAGES

_EDD, _FIFO, _SPT, _ATC = range(len(DISPATCHING))
_ATC_LOOKAHEAD = 2.0  # k of the apparent tardiness cost rule (Vepsalainen and Morton 1987)
MONTH_D = 21  # working days
_RETURNED = np.uint64(1)
_BUCKETS_BACK = 40  # days before today that the counting sort tells apart


@kernel
def remaining_h(w: Tables, o: np.void) -> float:
    """Machine hours an order still needs."""
    hours = 0.0
    for stage in range(w.row[o.row].stages):
        units = 0
        for earlier in range(stage + 1):
            units += o.todo[earlier]
        hours += units * machine_h(w, o.row, stage, o.price)
    return hours


@kernel
def dispatch(w: Tables, s: State, x: Scratch, h: int) -> None:
    """Ranks the open orders of a hub by the scenario's rule: EDD, FIFO, SPT or ATC. Ties keep the order of award."""
    day = s.clock[0].day
    count = s.hub[h].orders
    rule = w.scenario[0].labour.dispatching
    if rule in (_EDD, _FIFO):
        last = len(x.bucket_end) - 1
        for i in range(count):
            when = s.order[h, i].due if rule == _EDD else s.order[h, i].announced
            x.bucket[i] = min(max(when - day + _BUCKETS_BACK, 0), last)
        rank_by_bucket(x, count)
        return
    mean = 0.0
    for i in range(count):
        x.rank_key[i] = max(remaining_h(w, s.order[h, i]), 1e-6)
        mean += x.rank_key[i] / count
    for i in range(count):
        if rule == _ATC:
            o = s.order[h, i]
            slack = max(o.due - day - 1.0, 0.0)
            urgency = o.open * o.price / x.rank_key[i] * math.exp(-slack / (_ATC_LOOKAHEAD * max(mean, 1e-6)))
            x.rank_key[i] = -urgency
        x.rank[i] = i
    rank_by_key(x, count)


@kernel
def begin_job(w: Tables, s: State, x: Scratch, h: int, row: int, stage: int) -> None:
    """Draws for a stage, and today's rate of scrap: technology, tolerance, bad material, wrong files (§7 and §8)."""
    k = w.row[row].tech[stage]
    name = w.row[row].key + np.uint64(stage)
    x.job[row, stage].scrap_u = uniform(x.scrap_key[0], name)
    rate = w.tech[k].scrap * s.hub_tech[h, k].scrap_learned
    if w.scenario[0].quality.enabled == 1:
        unqualified, good = 0.0, 1.0
        for line in range(w.row[row].bom):
            if w.row[row].bom_stage[line] == stage:
                material = s.hub_mat[h, w.row[row].bom_material[line]]
                there = x.on_hand[w.row[row].bom_material[line]]
                if there > 0.0:
                    unqualified = max(unqualified, min(material.unqualified / there, 1.0))
                    good *= 1.0 - min(material.bad / there, 1.0)
        out = out_of_tolerance(w, s, h, k, unqualified)
        found = w.scenario[0].quality.hub_check * out
        x.job[row, stage].escape_rate = (out - found) / (1.0 - found) if found < 1.0 else 0.0
        x.job[row, stage].return_u = uniform(x.scrap_key[0], combine(name, _RETURNED))
        rate = min(1.0 - (1.0 - rate) * (1.0 - found) * good, MOST_SCRAP)
    if stage == 0 and row < w.par[0].products and s.hub_prod[h, row].qualifies > 0:
        rate = max(rate, 1.0 - w.scenario[0].experience.first_pass_yield)
    if x.tampered[row] == 1:
        rate = min(1.0 - (1.0 - rate) * (1.0 - w.scenario[0].disruptions.tampering_scrap), MOST_SCRAP)
    x.job[row, stage].scrap_rate = rate


@kernel
def rise(before: int, quantile: int, trials: int) -> int:
    """A binomial quantile after so many more trials: rounding of its sums must not take units back, or add some."""
    return min(max(quantile, before), before + trials)


@kernel
def scrap_of(w: Tables, s: State, x: Scratch, h: int, row: int, stage: int, units: int) -> int:
    """Units scrapped among the next `units` worked: the rise of the day's binomial quantile (see rng)."""
    job = x.job[row, stage]
    if job.worked == 0:
        begin_job(w, s, x, h, row, stage)
    before = job.scrapped
    job.worked += units
    job.scrapped = rise(before, binomial_quantile(job.scrap_u, job.worked, job.scrap_rate), units)
    return job.scrapped - before


@kernel
def returns_of(x: Scratch, row: int, stage: int, passed: int) -> int:
    """Units of the last `passed` that passed the hub's check and come back from the customer, drawn like scrap."""
    job = x.job[row, stage]
    before = job.escaped
    job.escaped = rise(before, binomial_quantile(job.return_u, job.worked - job.scrapped, job.escape_rate), passed)
    return job.escaped - before


@kernel
def fitting(there: float, each: float, units: int) -> int:
    """Units that what is there is enough for, at so much each, at most `units`; the division where it is not.

    The 1e-9 of a unit is rounding's, so that three times a third makes one. A product that does not exceed what is
    there says the same as the quotient: they differ by 1e-16 of themselves.
    """
    if units * each <= there:
        return units
    return min(units, int(max(there, 0.0) / each + 1e-9))


@inlined
def workable(w: Tables, s: State, x: Scratch, h: int, row: int, stage: int, price: float, units: int) -> int:
    """Units of a stage that machine hours, labour and material allow today, at most `units`."""
    k = w.row[row].tech[stage]
    people = len(w.tech)
    setup = 0.0 if x.job[row, stage].setup == 1 else w.tech[k].setup_h
    machine = machine_h(w, row, stage, price)
    labour = labour_h(w, row, stage, price) * s.hub_tech[h, k].learned
    # Most orders that stay find nothing left, of which nothing can be held for them either: no look at the material.
    if machine > 0.0 and x.cap[k] <= 0.0:
        return 0
    if labour > 0.0 and x.cap[people] <= 0.0 and (machine == 0.0 or units * machine <= x.cap[k] - setup):
        return 0
    for line in range(w.row[row].bom):
        if w.row[row].bom_stage[line] == stage:
            quantity = bom_quantity(w, row, line, price)
            if quantity > 0.0:
                units = fitting(x.on_hand[w.row[row].bom_material[line]], quantity, units)
    if units <= 0:
        return 0
    wanted = units
    if machine > 0.0:
        units = fitting(x.cap[k] - setup, machine, units)
        if units < wanted:
            x.blocked[k] = max(x.blocked[k], machine + setup)
            x.any_blocked[0] = True
    if labour > 0.0:
        fits = fitting(x.cap[people] - setup, labour, units)
        if fits < units:
            x.blocked[people] = max(x.blocked[people], labour + setup)
            x.any_blocked[0] = True
            units = fits
    return units


@kernel
def work(w: Tables, s: State, x: Scratch, h: int, row: int, stage: int, price: float, units: int) -> tuple[int, float]:
    """Works units at a stage and posts what that costs. Returns (scrapped, book value of the good units).

    Good units carry their material, machine, energy and labour cost as work in progress (the line stock_change takes
    it back out of the day's cost until they are delivered); scrapped ones are a cost of the day.
    """
    k = w.row[row].tech[stage]
    people = len(w.tech)
    tech, wage = w.tech[k], w.scenario[0].labour.wage_eur_h
    if x.job[row, stage].setup == 0:
        x.job[row, stage].setup = 1
        x.cap[k] -= tech.setup_h
        x.cap[people] -= tech.setup_h
        s.events[MACHINE_H + k] += tech.setup_h
        s.events[Event.labour_h] += tech.setup_h
        post(s, h, Line.setup, tech.setup_h * (tech.rate + tech.energy + wage))
    scrapped = scrap_of(w, s, x, h, row, stage, units)
    good = units - scrapped
    machine = machine_h(w, row, stage, price)
    labour = labour_h(w, row, stage, price) * s.hub_tech[h, k].learned
    x.cap[k] -= units * machine
    x.cap[people] -= units * labour
    s.events[MACHINE_H + k] += units * machine
    s.events[Event.labour_h] += units * labour
    s.events[Event.units_scrapped] += scrapped
    material = 0.0
    lost = 0.0
    for line in range(w.row[row].bom):
        if w.row[row].bom_stage[line] == stage:
            m = w.row[row].bom_material[line]
            quantity = bom_quantity(w, row, line, price)
            if quantity > 0.0:
                material += draw(w, s, x, h, m, good * quantity, F_USED)
                if scrapped > 0:
                    lost += draw(w, s, x, h, m, scrapped * quantity, F_SCRAPPED)
    hour_cost = machine * (tech.rate + tech.energy) + labour * wage
    post(s, h, Line.material, material)
    post(s, h, Line.machine, good * machine * tech.rate)
    post(s, h, Line.energy, good * machine * tech.energy)
    post(s, h, Line.labour, good * labour * wage)
    post(s, h, Line.scrap, lost + scrapped * hour_cost)
    value = material + good * hour_cost
    post(s, h, Line.stock_change, -value)
    if w.par[0].audit == 1:
        standard = machine * (tech.rate + tech.energy) + labour_h(w, row, stage, price) * wage
        for line in range(w.row[row].bom):
            if w.row[row].bom_stage[line] == stage:
                standard += bom_quantity(w, row, line, price) * w.mat[w.row[row].bom_material[line]].bulk
        x.job[row, stage].eur += value + lost + scrapped * hour_cost
        x.job[row, stage].standard_eur += good * standard
    if w.scenario[0].experience.enabled == 1:
        practise(w, s, h, row, stage, units, good, price)
    if w.scenario[0].quality.enabled == 1:
        s.hub_tech[h, k].units += units
        s.hub_tech[h, k].scrapped += scrapped
        returned = returns_of(x, row, stage, good)
        s.hub_tech[h, k].passed += good
        s.hub_tech[h, k].returned += returned
        if returned > 0:
            s.events[Event.units_returned] += returned
            post(s, h, Line.quality_returns, returned * price * w.scenario[0].quality.return_price_share)
    return scrapped, value


@kernel
def hold_blocked(w: Tables, x: Scratch) -> None:
    """A unit that does not fit keeps what is left of the day on its machine, or of the people, to itself."""
    if not x.any_blocked[0]:
        return
    x.any_blocked[0] = False
    for resource in range(len(w.tech) + 1):
        if x.blocked[resource] > 0.0 and x.hold[resource] == 0.0:
            x.hold[resource] = max(min(x.cap[resource], x.blocked[resource]), 0.0)
            x.cap[resource] -= x.hold[resource]


@kernel
def work_order(w: Tables, s: State, x: Scratch, h: int, index: int) -> None:
    """Moves one order on: last stage first, so that a unit spends at least a day on each stage."""
    o = s.order[h, index]
    stages = w.row[o.row].stages
    for back in range(stages):
        stage = stages - 1 - back
        waiting = o.todo[stage]
        if waiting <= 0:
            continue
        units = workable(w, s, x, h, o.row, stage, o.price, waiting)
        if units <= 0:
            continue
        progress = units_in_progress(o) + o.ready
        scrapped, value = work(w, s, x, h, o.row, stage, o.price, units)
        if stage > 0 and scrapped > 0:  # what earlier stages put into the scrapped units is lost too
            earlier = o.wip_value * scrapped / progress
            o.wip_value -= earlier
            post(s, h, Line.scrap, earlier)
        o.wip_value += value
        o.todo[stage] -= units
        o.todo[0] += scrapped
        if stage == stages - 1:
            o.ready += units - scrapped
        else:
            o.todo[stage + 1] += units - scrapped


@kernel
def make_to_stock(w: Tables, s: State, x: Scratch, h: int, product: int, cover: float) -> None:
    """Works towards a finished stock of so many days of the product's own sales with what hours are left."""
    goods = s.hub_prod[h, product]
    stages = w.row[product].stages
    price = w.row[product].price
    rate = max(goods.rate, w.scenario[0].inventory.catchment_floor * w.hub_rate[h, product])
    target = math.ceil(cover * rate - 1e-9)
    have = goods.finished
    for stage in range(1, stages):
        have += goods.wip[stage]
    for back in range(stages):
        stage = stages - 1 - back
        waiting = max(target - have, 0) if stage == 0 else goods.wip[stage]
        if waiting <= 0:
            continue
        units = workable(w, s, x, h, product, stage, price, waiting)
        if units <= 0:
            continue
        in_progress = 0
        for later in range(1, stages):
            in_progress += goods.wip[later]
        scrapped, value = work(w, s, x, h, product, stage, price, units)
        good = units - scrapped
        moved = 0.0
        if stage > 0:
            share = goods.wip_value * units / in_progress
            goods.wip_value -= share
            goods.wip[stage] -= units
            lost = share * scrapped / units
            if lost > 0.0:
                post(s, h, Line.scrap, lost)
            moved = share - lost
        if stage == stages - 1:
            goods.finished += good
            goods.value += moved + value
        else:
            goods.wip[stage + 1] += good
            goods.wip_value += moved + value


@kernel
def count_batches(w: Tables, s: State, x: Scratch, h: int) -> None:
    """Counts what a hub worked on today: rows for the first time in the running month of 21 days, and batches.

    A batch is what was worked of a row at a stage; its cost, set-up and scrap included, and the standard cost of its
    good units count in the class of its size.
    """
    month = s.clock[0].day // MONTH_D + 1
    for r in range(len(w.row)):
        for stage in range(w.row[r].stages):
            units = x.job[r, stage].worked
            if units == 0:
                continue
            if s.made[h, r] != month:
                s.made[h, r] = month
                s.events[Event.hub_month_rows] += 1.0
            size = 0
            for begins in BATCH_BEGINS:
                size += 1 if units >= begins else 0
            tech = w.tech[w.row[r].tech[stage]]
            setup = tech.setup_h * (tech.rate + tech.energy + w.scenario[0].labour.wage_eur_h)
            s.events[Event.batch_1_eur + size] += x.job[r, stage].eur + setup
            s.events[Event.batch_1_standard_eur + size] += x.job[r, stage].standard_eur
            x.job[r, stage].eur, x.job[r, stage].standard_eur = 0.0, 0.0


@kernel
def hubs_work(w: Tables, s: State, x: Scratch, action: np.ndarray) -> None:
    """All of stage 6."""
    day = s.clock[0].day
    people = len(w.tech)
    note_oldest(w, x, day)
    for r in range(len(w.row)):
        x.tampered[r] = 1 if r < w.par[0].products and s.tampered_until[r] > day else 0
    for h in range(s.hub.shape[0]):
        hub = s.hub[h]
        if hub.down_until > day:
            continue
        regular = hub.present * w.scenario[0].labour.hours_per_day + hub.labour_carry_h
        for k in range(people):
            extra = hub.overtime if w.tech[k].overtime == 1 else 0.0
            x.cap[k] = w.hub_hours[h, k] * (1.0 + extra) + s.hub_tech[h, k].carry_h
            x.blocked[k], x.hold[k] = 0.0, 0.0
        x.cap[people] = regular + hub.overtime * hub.present * w.scenario[0].labour.hours_per_day
        x.blocked[people], x.hold[people] = 0.0, 0.0
        x.any_blocked[0] = False
        available = x.cap[people]
        locked = hub.locked_until > day  # catalogue products need their design files
        for m in range(len(w.mat)):
            x.on_hand[m] = on_hand(s.hub_mat[h, m])
        if w.scenario[0].upkeep.enabled == 1:
            take_repairs(w, s, x, h)
        if w.par[0].service == 1:
            service(w, s, x, h, action)
        if w.scenario[0].experience.enabled == 1:
            qualify(w, s, x, h)
        for r in range(len(w.row)):
            for stage in range(MAX_STAGES):
                job = x.job[r, stage]
                job.setup, job.worked, job.scrapped, job.escaped = 0, 0, 0, 0
        x.scrap_key[0] = combine(day_key(s.clock[0].seed, STREAM_SCRAP, day), w.hub_key[h])
        dispatch(w, s, x, h)
        for i in range(hub.orders):
            if locked and s.order[h, x.rank[i]].row < w.par[0].products:
                continue
            work_order(w, s, x, h, x.rank[i])
            hold_blocked(w, x)
        for p in range(0 if locked else w.par[0].products):
            stock = level(action, h, w.hub_slot[MAKE_TO_STOCK], w.hub_fixed[MAKE_TO_STOCK], p)
            if w.hub_can[h, p] == 1 and (stock > 0 or s.hub_prod[h, p].wip_value > 0.0):
                make_to_stock(w, s, x, h, p, w.stock_level[stock])
                hold_blocked(w, x)
        if w.par[0].audit == 1:
            count_batches(w, s, x, h)
        for m in range(len(w.mat)):
            if s.hub_mat[h, m].need > s.hub_mat[h, m].used + x.on_hand[m] + 1e-9:
                s.events[Event.shortage_hub_material_days] += 1.0
        worked = available - x.cap[people] - x.hold[people]
        overtime = max(worked - regular, 0.0)
        if overtime > 0.0:
            labour = w.scenario[0].labour
            post(s, h, Line.overtime, overtime * labour.wage_eur_h * labour.overtime_premium)
            s.events[Event.overtime_h] += overtime
        if w.par[0].service == 1:
            wear(w, s, x, h)
        # hours put into a unit that did not fit today count for it tomorrow
        for k in range(people):
            s.hub_tech[h, k].carry_h = x.hold[k]
        hub.labour_carry_h = max(min(regular - worked, x.hold[people]), 0.0)
