"""Many networks stepped at once: the interface of the core.

One compiled kernel steps one network for one day; a batch steps many, on as many threads as asked. The PettingZoo
environment is a view of a batch of one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from copy import deepcopy
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast
from weakref import WeakSet

import numpy as np
from gymnasium.spaces import Box, Dict, MultiDiscrete
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from fabmesh.envs.network.books.accounts import LEDGER_LINES, event_names
from fabmesh.envs.network.books.restored import copied, require_layout, require_numbers, require_state
from fabmesh.envs.network.books.scenario_tables import build_tables
from fabmesh.envs.network.books.state import State, make_scratch, make_state
from fabmesh.envs.network.compiler.block import Block, Blocks
from fabmesh.envs.network.compiler.kernel import announce_compilation, bind
from fabmesh.envs.network.day.day import Buffers, run_copies
from fabmesh.envs.network.day.stage2_observations import CLIP
from fabmesh.envs.network.interface.actions import take_levels
from fabmesh.envs.network.interface.features import state_blocks
from fabmesh.envs.network.interface.spec import ROLES, layout, role_specs
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.recorded import RecordedOrders, read_orders
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.spaces import MaskedBox, MaskedMultiDiscrete, levels_of_bins
from fabmesh.envs.worlds import Worlds, whole_seed, whole_seeds

Info = dict[str, Any]

_NO_SEEDS = np.zeros(0, np.uint64)
_STATE = "state."  # before the names of the state's arrays in what is saved
_COPIES_AT_ONCE = 32  # that a thread steps before Python looks for an interrupt

F = TypeVar("F", bound=Callable[..., Any])


def _alone(method: F) -> F:
    """A method of a batch that one thread at a time may be in: the arrays of a batch are there once."""

    @wraps(method)
    def guarded(batch: HubNetworkVector, *args: Any, **kwargs: Any) -> Any:
        if not batch._turn.acquire(False):
            raise RuntimeError(
                "another thread is in this batch: reset and step it from one thread at a time, "
                "or give each thread a batch of its own (copy.deepcopy)"
            )
        try:
            return method(batch, *args, **kwargs)
        finally:
            batch._turn.release()

    return cast(F, guarded)


class HubNetworkVector:
    """A batch of networks of one scenario.

    Args:
        scenario: Name of a shipped scenario, path to a YAML file, or a `Scenario`.
        num_envs: Copies B stepped at once.
        threads: Threads that share the copies; trajectories do not depend on it.
        autoreset: True: a copy whose episode ends starts its next world in the same step, and the final
            observation, state, ledger and events are in `info`. False: it stays at its end until `reset`.
        audit: True: the customer market also counts how good its awards are (the `award_...` events). Trajectories are
            the same; a step takes a little longer.
        continuous_actions: True: actions are numbers in [-1, 1], one per component, each standing for a level
            (`fabmesh.envs.spaces.levels_of_bins`). False: they are the levels themselves.
        mask_in_obs: True: the observations of a role are {"observation": float32[B, agents, features],
            `mask_key`: int8[B, agents, sum(nvec)]}, the final ones too. False: the features alone.
        orders: Recorded demand that every copy plays in place of the synthetic streams of orders: path of a CSV file
            (`docs/orders.md`), or what `read_orders` made of one for this scenario. None: drawn demand.
        worlds: The worlds that resets and copies whose episode ends go on to: "train", "user", "validation", "test",
            "holdout", or a list of seeds; each is drawn from these, and a seed given to `reset` only says where the
            drawing begins. None: a seed is a world, followed by the next one of its stream.
        worlds_key: Whole numbers that `worlds` are drawn with, such as (seed, worker): the same key and seeds give the
            same worlds. None: entropy, so that no two processes play the same worlds, whatever seeds they are given.

    Attributes:
        mask_key: Name of the mask in observations: "action_mask", or "level_mask" with `continuous_actions`, because
            for other libraries an action mask belongs to discrete actions.

    Raises:
        ScenarioError: If the scenario cannot be used.
        OrdersError: If the recorded orders cannot be used with it.
        ValueError: If num_envs or threads is not positive.

    All arrays returned by `reset`, `step` and `state` are views of preallocated buffers that the next step
    overwrites: copy what you keep.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 Gymnasium's name and form
    roles = ROLES
    ledger_lines = LEDGER_LINES

    def __init__(
        self,
        scenario: str | Path | Scenario = "rotterdam",
        num_envs: int = 1,
        threads: int = 1,
        autoreset: bool = True,
        audit: bool = False,
        continuous_actions: bool = False,
        mask_in_obs: bool = False,
        orders: str | Path | RecordedOrders | None = None,
        worlds: str | Sequence[int] | None = None,
        worlds_key: int | Sequence[int] | None = None,
    ) -> None:
        for name, number in (("num_envs", num_envs), ("threads", threads)):
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {number!r}")
        self.scenario = load_scenario(scenario)
        self.orders = read_orders(orders, self.scenario) if isinstance(orders, (str, Path)) else orders
        if self.orders is not None:
            self.orders.require_fit(self.scenario)
        self.num_envs = int(num_envs)
        self.threads = min(int(threads), self.num_envs)
        self.autoreset = autoreset
        self.audit = audit
        self.continuous_actions = continuous_actions
        self.mask_in_obs = mask_in_obs
        self.mask_key = "level_mask" if continuous_actions else "action_mask"
        self.worlds = Worlds(self.num_envs, worlds, worlds_key)
        self._started = False
        self._closed = False
        self._build()
        self._make_spaces()

    def _build(self) -> None:
        """Everything that follows from the settings, the memory of the copies among it; a copy builds its own."""
        settings = set(self.__dict__)
        self.spec = role_specs(self.scenario)
        self.agents = {role: self.spec[role].agents for role in ROLES}
        self.num_agents = sum(len(names) for names in self.agents.values())
        self.state_features = state_blocks(self.scenario)
        self.event_names = event_names(self.scenario)
        announce_compilation()
        self._tables = build_tables(self.scenario, layout(self.scenario), self.audit, self.orders)
        self._state = make_state(self.scenario, self._tables, self.num_envs)
        self._scratch = make_scratch(self.scenario, self._tables, self.threads)
        self._buffers = self._make_buffers()
        self._handles = (Block(self._tables), *(Blocks(a) for a in (self._state, self._scratch, self._buffers)))
        self._run: Callable[..., None] | None = None  # compiled at the first reset
        self._bounds = [int(n) for n in np.linspace(0, self.num_envs, self.threads + 1)]
        self._pool = self._make_pool()
        self._turn = threading.RLock()
        _batches.add(self)
        io = self._buffers
        self._masks = {"hub": io.hub_mask, "depot": io.depot_mask}
        self._obs = self._observations(io.hub_obs, io.depot_obs, self._masks)
        self._final_obs = self._obs
        if self.autoreset:
            final_masks = {"hub": io.final_hub_mask, "depot": io.final_depot_mask}
            self._final_obs = self._observations(io.final_hub_obs, io.final_depot_obs, final_masks)
        self._actions = {"hub": io.hub_action, "depot": io.depot_action}
        self._levels = {role: self.spec[role].nvec for role in ROLES}
        hubs = len(self.agents["hub"])
        self._rewards = {"hub": io.reward[:, :hubs], "depot": io.reward[:, hubs:]}
        self._masked = {"hub": io.masked[:, :hubs], "depot": io.masked[:, hubs:]}
        self._never = np.zeros(self.num_envs, np.bool_)
        self._never.flags.writeable = False
        self._built = frozenset(self.__dict__) - settings

    def _make_pool(self) -> ThreadPoolExecutor | None:
        """The threads beside the caller's."""
        return ThreadPoolExecutor(self.threads - 1, "fabmesh") if self.threads > 1 else None

    def _make_buffers(self) -> Buffers:
        b, hubs, depots = self.num_envs, len(self.agents["hub"]), len(self.agents["depot"])
        spec = self.spec
        features = {role: spec[role].num_features for role in ROLES}
        size = sum(block.count for block in self.state_features)
        ends = int(self.autoreset)  # without automatic resets the last observation stays where it is
        return Buffers(
            hub_action=np.zeros((b, hubs, len(spec["hub"].nvec)), np.int32),
            depot_action=np.zeros((b, depots, len(spec["depot"].nvec)), np.int32),
            hub_obs=np.zeros((b, hubs, features["hub"]), np.float32),
            depot_obs=np.zeros((b, depots, features["depot"]), np.float32),
            state=np.zeros((b, size), np.float32),
            hub_mask=np.zeros((b, hubs, int(spec["hub"].nvec.sum())), np.int8),
            depot_mask=np.ones((b, depots, int(spec["depot"].nvec.sum())), np.int8),
            reward=np.zeros((b, hubs + depots), np.float32),
            masked=np.zeros((b, hubs + depots), np.int32),
            cost=np.zeros(b),
            truncated=np.zeros(b, np.bool_),
            final_hub_obs=np.zeros((b, ends * hubs, features["hub"]), np.float32),
            final_depot_obs=np.zeros((b, ends * depots, features["depot"]), np.float32),
            final_state=np.zeros((b, ends * size), np.float32),
            final_hub_mask=np.zeros((b, ends * self.mask_in_obs * hubs, int(spec["hub"].nvec.sum())), np.int8),
            final_depot_mask=np.ones((b, ends * self.mask_in_obs * depots, int(spec["depot"].nvec.sum())), np.int8),
            final_ledger=np.zeros_like(self._state.ledger),
            final_events=np.zeros_like(self._state.events),
            final_standard=np.zeros(b),
            settlement=np.zeros(b),
        )

    def _make_spaces(self) -> None:
        rows = {role: (self.num_envs, len(self.agents[role])) for role in ROLES}
        self.single_observation_space: dict[str, Any] = {role: self._observation_space(role, ()) for role in ROLES}
        self.single_action_space: dict[str, MaskedMultiDiscrete | MaskedBox] = {
            role: (MaskedBox if self.continuous_actions else MaskedMultiDiscrete)(self.spec[role].nvec)
            for role in ROLES
        }
        self.state_space = Box(-CLIP, CLIP, (sum(block.count for block in self.state_features),), np.float32)
        self.observation_space = Dict({role: self._observation_space(role, rows[role]) for role in ROLES})
        self.action_space = Dict(
            {
                role: Box(-1.0, 1.0, (*rows[role], len(self.spec[role].nvec)), np.float32)
                if self.continuous_actions
                else MultiDiscrete(np.tile(self.spec[role].nvec, (*rows[role], 1)))
                for role in ROLES
            }
        )

    def _observation_space(self, role: str, rows: tuple[int, ...]) -> Box[Any] | Dict:
        """The space of a role's observations, for one agent (no rows) or for all of a batch."""
        spec = self.spec[role]
        features = Box(-CLIP, CLIP, (*rows, spec.num_features), np.float32)
        if not self.mask_in_obs:
            return features
        return Dict({"observation": features, self.mask_key: Box(0, 1, (*rows, int(spec.nvec.sum())), np.int8)})

    def _observations(
        self, hub: NDArray[np.float32], depot: NDArray[np.float32], masks: Mapping[str, NDArray[np.int8]]
    ) -> dict[str, Any]:
        """Observations by role, with the masks beside them if asked for."""
        seen = {"hub": hub, "depot": depot}
        if not self.mask_in_obs:
            return seen
        return {role: {"observation": seen[role], self.mask_key: masks[role]} for role in ROLES}

    # -- the interface of a vector environment -------------------------------------------------------------------

    @_alone
    def reset(
        self, seed: int | Sequence[int] | NDArray[np.uint64] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Info]:
        """Starts a world in every copy; a batch that was closed opens again.

        Args:
            seed: An integer gives copy i the world of seed + i; a sequence of num_envs seeds is taken as it is, so
                copies can share a world; None lets every copy go on to the world after its last one. With `worlds`
                a seed begins a sequence of worlds drawn from those, with the batch's key or entropy.
            options: Accepted for Gymnasium's sake; nothing is read from it.

        Returns:
            Observations {role: float32[B, agents, features]} (see `mask_in_obs`) and info with the action masks; its
            other keys are those of `step`, all zero.

        Raises:
            ValueError: If a seed is no whole number from 0 to 2**64 - 1, or there are not num_envs of them.
        """
        seeds = self._seeds_for(seed)
        if self._closed:
            self._pool = self._make_pool()
            self._closed = False
        self._share_out(seeds)
        self._buffers.truncated[:] = False
        self._buffers.masked[:] = 0
        self._started = True
        return self._obs, {
            "action_mask": self._masks,
            "masked_actions": self._masked,
            "cost": np.zeros(self.num_envs),
            "_final": self._never,
        }

    @_alone
    def step(
        self, actions: Mapping[str, ArrayLike]
    ) -> tuple[
        dict[str, Any],
        dict[str, NDArray[np.float32]],
        NDArray[np.bool_],
        NDArray[np.bool_],
        Info,
    ]:
        """One working day of every copy.

        Args:
            actions: {role: int[B, agents, components]}, or float with `continuous_actions`. A masked level does
                nothing and is counted.

        Returns:
            Observations, rewards {role: float32[B, agents]}, terminated bool[B] (always False), truncated bool[B],
            and info: "action_mask" {role: int8[B, agents, sum(nvec)]}, "masked_actions" {role: int32[B, agents]}
            components of these actions that were masked, "cost" float64[B] network cost of the day in EUR, "_final"
            bool[B]; where copies ended also "final_obs", "final_state", "final_ledger", "final_events", "settlement"
            and "standard_cost".

        Raises:
            TypeError: If the actions are no mapping of roles to arrays.
            ValueError: If an action has another shape or type, or a value that is no level (continuous: that is nan or
                outside [-1, 1]), or there is no such role; nothing has been stepped then.
            RuntimeError: Before the first reset, after the end without autoreset, or after `close`.
        """
        if self._closed:
            raise RuntimeError("the batch has been closed: call reset to open it again")
        if not self._started:
            raise RuntimeError("call reset before step")
        if not self.autoreset and self._buffers.truncated.any():
            raise RuntimeError("the episode has ended: call reset (or make the batch with autoreset=True)")
        if not isinstance(actions, Mapping):
            raise TypeError(f"actions must be {{role: array}} for {', '.join(ROLES)}, got {type(actions).__name__}")
        for role in actions:
            if role not in ROLES:
                raise ValueError(f"actions of {role!r}, which is no role; there are {', '.join(ROLES)}")
        for role in ROLES:
            self._take(role, actions)
        io = self._buffers
        self._share_out(_NO_SEEDS)
        if self.autoreset:
            self._choose_worlds()
        info: Info = {
            "action_mask": self._masks,
            "masked_actions": self._masked,
            "cost": io.cost,
            "_final": io.truncated,
        }
        if io.truncated.any():
            info["final_obs"] = self._final_obs
            info["final_state"] = io.final_state if self.autoreset else io.state
            info["final_ledger"] = io.final_ledger
            info["final_events"] = io.final_events
            info["settlement"] = io.settlement
            info["standard_cost"] = io.final_standard
        return self._obs, self._rewards, self._never, io.truncated, info

    def last_shown(self) -> tuple[dict[str, Any], dict[str, NDArray[np.int8]]]:
        """Observations and action masks by role, as the last reset or step returned them."""
        return self._obs, self._masks

    def state(self) -> NDArray[np.float32]:
        """The whole network compactly, float32[B, S], for a central critic; `state_features` names it."""
        return self._buffers.state

    def close(self) -> None:
        """Ends the threads; the batch can be stepped again after another `reset`."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown()

    # -- what researchers read -----------------------------------------------------------------------------------

    @property
    def seeds(self) -> NDArray[np.uint64]:
        """Seeds of the current worlds, uint64[B]."""
        seeds: NDArray[np.uint64] = self._state.clock["seed"].copy()
        return seeds

    @property
    def day(self) -> NDArray[np.int32]:
        """Day of the episode, int32[B]; no agent sees it."""
        day: NDArray[np.int32] = self._state.clock["day"].copy()
        return day

    @property
    def reward_scale_eur(self) -> float:
        """Cost that counts as a reward of -1, EUR: the scenario's, or the standard cost of a mean day per agent."""
        return float(self._tables.par[0]["reward_scale"])

    @property
    def ledger(self) -> NDArray[np.float64]:
        """The books of the running episode, EUR, float64[B, hubs + depots + platform, lines], a view."""
        return self._state.ledger

    @property
    def events(self) -> NDArray[np.float64]:
        """Counts of the running episode, float64[B, events], a view; `event_names` names them."""
        return self._state.events

    @property
    def arrays(self) -> State:
        """The state itself (`envs.network.books.state`): arrays with a leading batch axis. To read, not to write."""
        return self._state

    @property
    def bytes_per_copy(self) -> int:
        """Memory of the state and buffers of one copy."""
        arrays: list[NDArray[Any]] = [*self._state, *self._buffers]
        arrays += [handle.headers for handle in (self._handles[1], self._handles[3])]
        return int(sum(a.nbytes for a in arrays)) // self.num_envs

    @_alone
    def save_state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything that `load_state` needs to go on exactly from here."""
        return {name: copied(array) for name, array in self._kept().items()}

    @_alone
    def load_state(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Restores what `save_state` returned on a batch of the same scenario and size.

        Raises:
            ValueError: If an array is missing or has another shape or type, or holds what no state can; nothing has
                been changed then.
        """
        targets = self._kept()
        require_layout(saved, targets)
        require_state(State(*(saved[f"{_STATE}{name}"] for name in State._fields)), self._tables)
        for name in targets:
            if not name.startswith(_STATE):
                require_numbers(name, saved[name])
        for name, array in targets.items():
            array[...] = saved[name]
        self._buffers.masked[:] = 0
        self.worlds.rejoin()
        self._started = True

    def __getstate__(self) -> dict[str, Any]:
        """All that was set on it, attributes of the user's own too, and the state in place of the memory it is in."""
        kept = {name: value for name, value in self.__dict__.items() if name not in self._built and name != "_built"}
        return kept | {"worlds": deepcopy(self.worlds), "saved": self.save_state() if self._started else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Goes on from where the one stood that was copied or pickled, and then to worlds of its own."""
        saved = state.pop("saved")
        self.__dict__.update(state)
        self._build()
        if saved is not None:
            self.load_state(saved)
        if self._closed:
            self.close()
        self.worlds.part()

    # -- inside --------------------------------------------------------------------------------------------------

    def _kept(self) -> dict[str, NDArray[Any]]:
        """What a saved state holds: state, worlds to come, and all buffers but those that report on the last step."""
        reports = ("masked", "final_")
        kept = {f"{_STATE}{name}": array for name, array in self._state._asdict().items()}
        shown = self._buffers._asdict().items()
        kept |= {f"buffers.{name}": array for name, array in shown if not name.startswith(reports)}
        return kept | self.worlds.arrays()

    def _share_out(self, seeds: NDArray[np.uint64]) -> None:
        """Starts or steps every thread's share of the copies; the first share on the calling thread.

        An interrupt leaves the day half done, and no thread at work: the batch has to be reset then.
        """
        if self._run is None:
            self._run = bind(run_copies, *self._handles, 0, 0, 0, seeds, self.autoreset)
        self._started = self._halt = False
        if self._pool is None:
            self._run_share(seeds, 0)
        else:
            shares = [self._pool.submit(self._run_share, seeds, t) for t in range(1, self.threads)]
            try:
                self._run_share(seeds, 0)
                for share in shares:
                    share.result()
            except BaseException:
                self._halt = True
                wait(shares)
                raise
        self._started = True

    def _run_share(self, seeds: NDArray[np.uint64], thread: int) -> None:
        """A thread's share, a few copies at a time."""
        run, handles, autoreset = self._run, self._handles, self.autoreset
        assert run is not None
        end = self._bounds[thread + 1]
        for first in range(self._bounds[thread], end, _COPIES_AT_ONCE):
            if self._halt:
                return
            run(*handles, first, min(first + _COPIES_AT_ONCE, end), thread, seeds, autoreset)

    def _seeds_for(self, seed: int | Sequence[int] | NDArray[np.uint64] | None) -> NDArray[np.uint64]:
        if seed is None:
            return self._next_seeds()
        if not isinstance(seed, Sequence) and np.ndim(seed) == 0:
            first = whole_seed(seed)
            if first > 2**64 - self.num_envs:
                raise ValueError(f"seed {first}: must be from 0 to 2**64 - num_envs")
            return self.worlds.of_seeds([first + i for i in range(self.num_envs)])
        seeds = whole_seeds(seed)  # type: ignore[arg-type]  # mypy does not know that it has a dimension
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} copies")
        return self.worlds.of_seeds(seeds)

    def _next_seeds(self) -> NDArray[np.uint64]:
        """The world after every copy's last one; before there is one, worlds that nobody asked for."""
        if self._started:
            last = [int(seed) for seed in self._state.clock["seed"]]
        else:
            entropy = int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) >> 9
            last = [entropy + i for i in range(self.num_envs)]
        return np.array([self.worlds.after(i, seed) for i, seed in enumerate(last)], np.uint64)

    def _choose_worlds(self) -> None:
        """Starts copies whose episode has ended, and which began `next_seed`'s world, in the one they draw instead."""
        copies = self.worlds.chosen(self._buffers.truncated)
        if self._run is None or not len(copies):
            return
        seeds = self.seeds
        for copy in copies:
            seeds[copy] = self.worlds.after(int(copy), int(seeds[copy]))
            self._run(*self._handles, int(copy), int(copy) + 1, 0, seeds, self.autoreset)

    def _take(self, role: str, actions: Mapping[str, ArrayLike]) -> None:
        target = self._actions[role]
        if role not in actions:
            raise ValueError(f"no actions for the role {role!r}; there are {', '.join(actions) or 'none'}")
        try:
            given = np.asarray(actions[role])
        except ValueError:
            raise ValueError(f"actions of {role!r} are no array: rows of different lengths") from None
        if given.shape != target.shape:
            raise ValueError(f"actions of {role!r} have shape {given.shape}, expected {target.shape}")
        if given.dtype.kind not in ("f" if self.continuous_actions else "iu"):
            kind = "floats from -1 to 1" if self.continuous_actions else "integers"
            raise ValueError(f"actions of {role!r} must be {kind}, got {given.dtype}")
        if self.continuous_actions:
            outside = ~(np.abs(given) <= 1.0)  # so that nan is outside, too
            bad = int(outside.argmax()) if outside.any() else -1
            target[...] = levels_of_bins(given, self._levels[role])
        else:
            # an unsigned value too large for int64 becomes negative, and stays no level
            bad = int(take_levels(np.ascontiguousarray(given, np.int64), self._levels[role], target))
        if bad >= 0:
            b, agent, column = (int(i) for i in np.unravel_index(bad, target.shape))
            block = next(c for c in self.spec[role].components if c.start <= column < c.start + c.count)
            allowed = "-1 to 1" if self.continuous_actions else f"0 to {len(block.labels) - 1}"
            raise ValueError(
                f"action of {self.agents[role][agent]} in copy {b}: component {block.name}"
                f"[{block.items[column - block.start]}] (column {column}) is {given[b, agent, column]}, "
                f"allowed are {allowed}"
            )


_batches: WeakSet[HubNetworkVector] = WeakSet()


def _after_fork() -> None:
    """A forked process has none of its parent's threads, neither those that help nor one that is in a batch."""
    for batch in _batches:
        batch._pool = batch._make_pool()
        batch._turn = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
