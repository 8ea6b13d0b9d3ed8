"""A saved state that comes from outside is refused, or played lawfully: compiled code looks up without asking."""

from __future__ import annotations

import numpy as np
import pytest

from fabmesh.envs.network.books.state import BOUNDS, State
from fabmesh.envs.vector import HubNetworkVector

EXTREMES = (-(2**63), -(2**31), -32_768, -1, 32_767, 10_000_000, 2**31 - 1, 2**62)


def played(scenario, days, copies=2, seed=3):
    """A batch some days into its episodes, and a generator that goes on with it."""
    batch, rng = HubNetworkVector(scenario, copies), np.random.default_rng(seed)
    batch.reset(seed=seed)
    for _ in range(days):
        step(batch, rng)
    return batch, rng


def step(batch, rng):
    """A day of random levels."""
    shapes = {role: (batch.num_envs, len(batch.agents[role]), len(batch.spec[role].nvec)) for role in batch.roles}
    return batch.step({role: rng.integers(batch.spec[role].nvec, size=shape) for role, shape in shapes.items()})


@pytest.fixture(scope="module")
def rotterdam():
    return played("rotterdam", 12)


def field(saved, place):
    """The array, or the column of it, that a bound is of."""
    table, _, name = place.partition(".")
    return saved[f"state.{table}"][name] if name else saved[f"state.{table}"]


def test_every_whole_number_of_the_state_has_bounds(rotterdam):
    batch, _ = rotterdam
    found = set()
    for table, array in batch.arrays._asdict().items():
        columns = {f"{table}.{name}": array.dtype[name].base for name in array.dtype.names or ()} or {
            table: array.dtype
        }
        found |= {place for place, dtype in columns.items() if dtype.kind in "iu"}
    assert found == set(BOUNDS)


@pytest.mark.parametrize("place", BOUNDS)
def test_a_whole_number_beyond_all_bounds_is_refused_or_played_lawfully(rotterdam, place):
    batch, rng = rotterdam
    whole = batch.save_state()
    refused = []
    for value in EXTREMES:
        for single in (True, False):
            saved = {name: array.copy() for name, array in whole.items()}
            target = field(saved, place)
            if target.size == 0:
                continue
            limits = np.iinfo(target.dtype)
            target[(0,) * target.ndim if single else ...] = min(max(value, limits.min), limits.max)
            try:
                batch.load_state(saved)
            except ValueError as error:
                refused.append(str(error))
                continue
            for _ in range(3):
                obs, reward, _, _, info = step(batch, rng)
                assert all(np.isfinite(part).all() for part in (*obs.values(), *reward.values(), info["cost"]))
                assert (batch.arrays.clock["lots"] <= batch.arrays.lot.shape[1]).all()
    batch.load_state(whole)
    assert all(place.partition(".")[0] in said and "\n" not in said for said in refused)
    assert refused or BOUNDS[place] is None or field(whole, place).size == 0


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_nothing_is_changed(rotterdam, number):
    batch, _ = rotterdam
    before = batch.save_state()
    for place in ("state.hub_mat", "state.ledger", "buffers.hub_obs"):
        saved = {name: array.copy() for name, array in before.items()}
        target = saved[place]["value"] if place == "state.hub_mat" else saved[place]
        target[(0,) * target.ndim] = number
        with pytest.raises(ValueError, match="not finite"):
            batch.load_state(saved)
    after = batch.save_state()
    assert all(array.tobytes() == after[name].tobytes() for name, array in before.items())


def test_more_lots_than_the_days_brought_are_refused(rotterdam):
    batch, _ = rotterdam
    whole = batch.save_state()

    def refusal(change):
        saved = {name: array.copy() for name, array in whole.items()}
        change(saved["state.clock"], saved["state.lot"])
        with pytest.raises(ValueError, match="lot") as error:
            batch.load_state(saved)
        return str(error.value)

    def fill(clock, lot):
        """A full table of one lot, which would leave no room for tomorrow's."""
        lot[:] = lot[:, :1]
        clock["lots"] = lot.shape[1]

    def announce(clock, lot):
        fill(clock, lot)
        lot["again"] = 1

    def stay(clock, lot):
        lot["last_day"][:, 0] = 32_767

    assert refusal(fill) == "lot: more lots wait than their day brought"
    assert "than there is room for" in refusal(announce)
    assert "waits longer than its customer does" in refusal(stay)
    batch.load_state(whole)


def test_every_day_that_is_played_can_be_restored():
    for scenario in ("pocket", "rotterdam"):
        batch, rng = played(scenario, 0)
        for _ in range(2 * batch.scenario.episode_d + 3 if scenario == "pocket" else 60):
            step(batch, rng)
            batch.load_state(batch.save_state())


def test_bytes_between_the_fields_of_saved_records_are_zeros(rotterdam):
    batch, _ = rotterdam
    np.frombuffer(bytearray(b"\xff" * 50_000_000), np.uint8).copy()  # so that fresh memory would not be all zeros
    for name, array in batch.save_state().items():
        if array.dtype.names is None or array.size == 0:
            continue
        used = np.zeros(array.dtype.itemsize, bool)
        for dtype, offset, *_ in array.dtype.fields.values():
            used[offset : offset + dtype.itemsize] = True
        rows = np.frombuffer(array.tobytes(), np.uint8).reshape(-1, array.dtype.itemsize)
        assert not rows[:, ~used].any(), name


def test_the_bounds_name_fields_that_exist():
    assert {place.partition(".")[0] for place in BOUNDS} <= set(State._fields)
