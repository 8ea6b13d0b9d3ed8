"""The network as a PettingZoo environment: one row of the batch, seen through dictionaries.

`parallel_env` is the environment, `raw_env` its turn-based (AEC) form, `env` the same with PettingZoo's checks of
order and bounds. There are no dynamics here: `fabmesh.envs.vector.HubNetworkVector` steps the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.wrappers import AssertOutOfBoundsWrapper, OrderEnforcingWrapper

from fabmesh.envs.network.interface.spec import RoleSpec
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.recorded import RecordedOrders, read_orders
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.rendering.page import network_page, show_page
from fabmesh.envs.rendering.reading import read_network
from fabmesh.envs.spaces import MaskedBox, MaskedMultiDiscrete
from fabmesh.envs.vector import HubNetworkVector

if TYPE_CHECKING:
    from fabmesh.envs.rendering.map import NetworkMap

__all__ = ["env", "parallel_env", "raw_env"]

Observation = NDArray[np.float32] | dict[str, NDArray[Any]]  # the second with `mask_in_obs`
Observations = dict[str, Observation]
Actions = dict[str, NDArray[Any]]  # int64 levels, or float32 with `continuous_actions`
Infos = dict[str, dict[str, Any]]


class parallel_env(ParallelEnv[str, Observation, NDArray[Any]]):  # noqa: N801 PettingZoo's name for it
    r"""A region in which hubs make what customers order and depots supply them, one step a working day.

        towns           hubs (agents)                    depots (agents)         suppliers
                        +------------------------+       +---------------+
        orders   ---->  | bid per technology     | ----> | quote per     | ---->  price falls
        tenders  ---->  | bid per tender         | asks  | material      | orders with the lot;
                        | machines, technicians  |       | stock by age  | <----  lead times
        parts    <----  | raw and finished stock | <---- | trigger, lot  |
                        +------------------------+ goods +---------------+
                 two reverse auctions a day: hubs bid for orders, depots for the hubs' requests

    **Agents** `hub_0 ... hub_{H-1}`, `depot_0 ... depot_{D-1}`, in the order of the scenario; none leaves or joins.
    `scenario="rotterdam"` has 4 hubs and 2 depots, `"pocket"` 2 hubs and 1 depot.

    **Actions**: `MultiDiscrete`, one component per row and thing; `batch.spec[role].components` has every name, level
    and value, `batch.scenario.actions` sets the values.

    | role  | component     | of each         | levels |
    |-------|---------------|-----------------|--------|
    | hub   | bid           | technology      | withdraw, then mark-ups on the hub's own estimated cost |
    | hub   | tender        | tender slot     | pass, then mark-ups |
    | hub   | cover         | material        | none, then the order-up-to level in days of use |
    | hub   | trigger       | all materials   | reorder below this fraction of the level |
    | hub   | can_order     | all materials   | once anything is ordered, what is below this fraction joins |
    | hub   | make_to_stock | product         | days of its own sales kept finished |
    | hub   | overtime      | all technicians | share of the working day |
    | depot | trigger       | material        | none, then x the need during the lead time |
    | depot | lot           | material        | days of cover beyond the trigger, or up to the next price break |
    | depot | quote         | material        | decline, then mark-ups on the average landed cost |

    `info[agent]["action_mask"]` is one flat int8 array of length `sum(nvec)`: 1 where the level can have an effect
    today. A masked level is played as the component's level 0 and counted in `info[agent]["masked_actions"]`; a value
    that is no level at all raises `ValueError`. With `continuous_actions=True` the same components are a float32
    `Box(-1, 1)`: a component of n levels cuts the interval into n equal bins, level i from -1 + 2 i / n (included) to
    -1 + 2 (i + 1) / n, and 1.0 is in the last; what is nan or outside raises `ValueError`.
    `fabmesh.envs.spaces` has `levels_of_bins` and its inverse `bin_centres`.

    The mask is in one place, the infos, or with `mask_in_obs=True` the observations. With `continuous_actions=True` it
    is the same array under the name `level_mask`: what other libraries call an action mask belongs to discrete actions.
    `action_space(agent).sample` takes either.

    **Observations**: `Box(-10, 10)`, float32, dimensionless: what the agent itself may see (its machines, book, stock,
    ages; the day's orders in its reach; yesterday's quotes; notices; weekday and season), never the day of the episode
    nor another agent's books. `batch.spec[role].features` names every number. `state()` is the whole network. With
    `mask_in_obs=True` an observation is `{"observation": ..., "action_mask": ...}`, and the infos have no mask.

    **Reward**: minus the network's cost of the day (EUR), divided by `reward.scale_eur` of the scenario and the number
    of agents; the same for every agent (team game). The cost is accrued: material when used, scrapped or written
    off, not when bought. With `reward.team_weight` w of the scenario below 1 it is the share w of that, and the share
    1 - w of minus the agent's own cost less its revenue and transfers, divided by `reward.scale_eur`.

    **End**: after `max_cycles` days (default `scenario.episode_d`) every agent is truncated in the same step; nothing
    terminates. What is still open is then settled in `info[agent]["settlement"]` (EUR), not in the last reward.

    **Infos** have the same keys on every day: the mask as said above, `masked_actions` (components of the last action
    that were masked), `cost` (network cost of the day, EUR), `settlement` (EUR, 0 before the last day).

        from fabmesh.envs import hub_network_v0

        env = hub_network_v0.parallel_env(scenario="pocket")
        observations, infos = env.reset(seed=7)
        while env.agents:
            actions = {a: env.action_space(a).sample(infos[a]["action_mask"]) for a in env.agents}
            observations, rewards, terminations, truncations, infos = env.step(actions)

    Args:
        scenario: Name of a shipped scenario, path to a YAML file, or a `Scenario`.
        render_mode: None; "ansi": `render()` returns a page of text; "human": the page is printed after every reset
            and step (a terminal is cleared first); "rgb_array": `render()` returns a map, uint8[height, width, 3].
        max_cycles: Days of an episode; None takes the scenario's. May be set later, for the next `reset`.
        continuous_actions: Actions are numbers in [-1, 1] that stand for levels.
        mask_in_obs: Observations carry the action mask, and infos do not.
        orders: Recorded demand in place of the synthetic streams of orders: path of a CSV file (`docs/orders.md`), or
            what `read_orders` made of one. None: drawn demand.
        worlds: The worlds that resets go on to: "train", "user", "validation", "test", "holdout", or a list of seeds;
            every reset draws one of these. None: `reset(seed=s)` is world s, and resets without a seed follow from it.
        worlds_key: Whole numbers that `worlds` are drawn with, such as (seed, worker): the same key and the same seeds
            given to `reset` give the same worlds. None: entropy, so that parallel workers play different worlds even
            where a framework gives every one the same seed.

    Attributes:
        batch: The `HubNetworkVector` of one network behind this view: ledger, events, names of features and levels.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "hub_network_v0",
        "render_modes": ["human", "ansi", "rgb_array"],
        "is_parallelizable": True,
        "render_fps": 4,
    }

    def __init__(
        self,
        scenario: str | Path | Scenario = "rotterdam",
        render_mode: str | None = None,
        max_cycles: int | None = None,
        continuous_actions: bool = False,
        mask_in_obs: bool = False,
        orders: str | Path | RecordedOrders | None = None,
        worlds: str | Sequence[int] | None = None,
        worlds_key: int | Sequence[int] | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode {render_mode!r} is not one of {self.metadata['render_modes']}")
        self.render_mode = render_mode
        if max_cycles is not None and isinstance(orders, (str, Path)):  # so many days may the order book hold
            orders = read_orders(orders, replace(load_scenario(scenario), episode_d=_days(max_cycles)))
        self.batch = batch = HubNetworkVector(
            scenario,
            num_envs=1,
            autoreset=False,
            continuous_actions=continuous_actions,
            mask_in_obs=mask_in_obs,
            orders=orders,
            worlds=worlds,
            worlds_key=worlds_key,
        )
        self.max_cycles = batch.scenario.episode_d if max_cycles is None else max_cycles

        self.possible_agents = [agent for role in batch.roles for agent in batch.agents[role]]
        self.agents: list[str] = []
        # One space object per agent: agents that shared one would share its generator, and seeding one would seed all.
        self.observation_spaces: dict[str, Box[Any] | Dict] = {
            agent: deepcopy(batch.single_observation_space[role])
            for role in batch.roles
            for agent in batch.agents[role]
        }
        self.action_spaces = {
            agent: deepcopy(batch.single_action_space[role]) for role in batch.roles for agent in batch.agents[role]
        }
        self.state_space = batch.state_space
        self._boards = self._make_boards()
        self._begun = False
        self._ledger_before: NDArray[np.float64] | None = None
        self._map: NetworkMap | None = None

    def observation_space(self, agent: str) -> Box[Any] | Dict:
        """The agent's observation space; the same object at every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> MaskedMultiDiscrete | MaskedBox:
        """The agent's action space; the same object at every call, so that its seed holds."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, Infos]:
        """Starts an episode.

        Args:
            seed: The world: demand, tenders, outages, revisions, lead times. None goes on to the next world of the
                stream that the last seed began. With `worlds` a seed begins a stream of worlds drawn from those.
            options: Accepted and not used; the scenario holds every choice.

        Returns:
            Observations and infos by agent.

        Raises:
            ValueError: If the seed is no whole number from 0 to 2**64 - 1, or `max_cycles` has no day.
        """
        if self.batch.scenario.episode_d != self.max_cycles:
            self._change_length()
        self.batch.reset(seed=seed)
        self._begun = True
        self.agents = self.possible_agents[:]
        self._ledger_before = None
        infos = self._infos([0] * len(self.agents), 0.0, 0.0)
        if self.render_mode == "human":
            self.render()
        return self._observations(), infos

    def step(self, actions: Actions) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """One working day.

        Args:
            actions: For every agent one level per component: integers of the shape of `action_space(agent)`, or floats
                with `continuous_actions`.

        Returns:
            Observations, rewards, terminations, truncations and infos by agent.

        Raises:
            TypeError: If the actions are no mapping of agents to arrays.
            ValueError: If an agent has no action, there is no such agent, or a value stands for no level of its
                component; the message names agent, component and value.
            RuntimeError: If no episode is under way.
        """
        if not self.agents:
            raise RuntimeError("step() with no episode under way: call reset() first")
        if not isinstance(actions, Mapping):
            raise TypeError(f"actions must be {{agent: action}} for every agent, got {type(actions).__name__}")
        for board in self._boards:
            board.put(actions)
        if len(actions) > len(self.possible_agents):
            unknown = next(agent for agent in actions if agent not in self.possible_agents)
            known = ", ".join(self.possible_agents)
            raise ValueError(f"an action for {unknown!r}, which is no agent; there are {known}")
        if self.render_mode is not None:
            self._ledger_before = self.batch.ledger[0].copy()
        _, reward, terminated, truncated, info = self.batch.step({board.role: board.actions for board in self._boards})

        agents = self.possible_agents
        over, cut = bool(terminated[0]), bool(truncated[0])
        ended = over or cut
        rewards = [number for board in self._boards for number in reward[board.role][0].tolist()]
        masked = [count for board in self._boards for count in info["masked_actions"][board.role][0].tolist()]
        infos = self._infos(masked, float(info["cost"][0]), float(info["settlement"][0]) if ended else 0.0)
        if ended:
            self.agents = []  # a list that a caller holds stays as it is: it names whose rewards these are
        if self.render_mode == "human":
            self.render()
        return (
            self._observations(),
            dict(zip(agents, rewards, strict=True)),
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, cut),
            infos,
        )

    def state(self) -> NDArray[np.float32]:
        """The whole network for a central critic: float32 of the shape of `state_space`."""
        state: NDArray[np.float32] = self.batch.state()[0].copy()
        return state

    def render(self) -> str | NDArray[np.uint8] | None:
        """The network as it is now, in the constructor's `render_mode`.

        Returns:
            "ansi": a page of text; "rgb_array": uint8[height, width, 3]; "human": None, the page is printed.

        Raises:
            RuntimeError: Before the first reset.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() shows nothing without a render_mode: give the constructor one, e.g. 'ansi'")
            return None
        if not self._begun:
            raise RuntimeError("render() before the first reset()")
        if self.render_mode == "rgb_array":
            if self._map is None:
                from fabmesh.envs.rendering.map import NetworkMap  # only here: matplotlib takes half a second to load

                self._map = NetworkMap(self.batch.scenario)
            return self._map.draw(read_network(self.batch, self._features(), self._ledger_before))
        page = network_page(read_network(self.batch, self._features(), self._ledger_before))
        if self.render_mode == "ansi":
            return page
        show_page(page)
        return None

    def close(self) -> None:
        """Releases the picture and the batch; `reset` opens them again."""
        if self._map is not None:
            self._map.close()
            self._map = None
        self.batch.close()

    def __getstate__(self) -> dict[str, Any]:
        """All that was set on it, attributes of the user's own too; a copy steps a world of its own, from here on."""
        return self.__dict__ | {"_boards": [], "_map": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Goes on from where the one stood that was copied or pickled."""
        self.__dict__.update(state)
        self._boards = self._make_boards()

    def _make_boards(self) -> list[_RoleBoard]:
        batch = self.batch
        return [_RoleBoard(r, batch.agents[r], batch.spec[r], batch.continuous_actions) for r in batch.roles]

    def _change_length(self) -> None:
        """A batch with episodes of `max_cycles` days that goes on in the same stream of worlds."""
        before = self.batch
        self.batch = HubNetworkVector(
            replace(before.scenario, episode_d=_days(self.max_cycles)),
            num_envs=1,
            autoreset=False,
            continuous_actions=before.continuous_actions,
            mask_in_obs=before.mask_in_obs,
            orders=before.orders,
        )
        if self._begun:
            self.batch.reset(seed=[int(before.seeds[0])])
        self.batch.worlds = before.worlds
        before.close()

    def _observations(self) -> Observations:
        """One copy of the buffers per role; the agents get its rows."""
        features = self._features()
        rows: list[Any] = [row for board in self._boards for row in features[board.role][0].copy()]
        if self.batch.mask_in_obs:
            key, masks = self.batch.mask_key, self._mask_rows()
            rows = [{"observation": row, key: mask} for row, mask in zip(rows, masks, strict=True)]
        return dict(zip(self.possible_agents, rows, strict=True))

    def _features(self) -> dict[str, NDArray[np.float32]]:
        """What the batch returned last, by role, without the masks that may lie beside it."""
        observed, _ = self.batch.last_shown()
        if not self.batch.mask_in_obs:
            return observed
        return {role: seen["observation"] for role, seen in observed.items()}

    def _mask_rows(self) -> list[NDArray[np.int8]]:
        """A copy of each agent's mask."""
        _, masks = self.batch.last_shown()
        return [row for board in self._boards for row in masks[board.role][0].copy()]

    def _infos(self, masked: list[int], cost: float, settlement: float) -> Infos:
        infos: Infos = {
            agent: {"masked_actions": count, "cost": cost, "settlement": settlement}
            for agent, count in zip(self.possible_agents, masked, strict=True)
        }
        if not self.batch.mask_in_obs:
            key = self.batch.mask_key
            for info, mask in zip(infos.values(), self._mask_rows(), strict=True):
                info[key] = mask
        return infos


def _days(max_cycles: object) -> int:
    """Days of an episode as a Python integer."""
    if isinstance(max_cycles, bool) or not isinstance(max_cycles, (int, np.integer)) or max_cycles < 1:
        raise ValueError(f"max_cycles is {max_cycles!r}, but an episode is a whole number of days, at least 1")
    return int(max_cycles)


class _RoleBoard:
    """The actions of one role's agents, checked and laid out as the batch takes them."""

    def __init__(self, role: str, agents: tuple[str, ...], spec: RoleSpec, continuous: bool) -> None:
        self.role = role
        self._continuous = continuous
        self.actions: NDArray[Any] = np.zeros(
            (1, len(agents), len(spec.nvec)), dtype=np.float64 if continuous else np.int64
        )
        self._rows = list(zip(agents, self.actions[0], strict=True))  # views: writing a row fills `actions`
        self._shape = (len(spec.nvec),)

    def put(self, actions: Actions) -> None:
        """Takes the actions of this role's agents out of a dictionary."""
        for agent, row in self._rows:
            if agent not in actions:
                raise ValueError(f"no action for {agent}: every agent acts every day")
            try:
                action = np.asarray(actions[agent])
            except ValueError:
                raise ValueError(f"the action of {agent} is no array: rows of different lengths") from None
            if action.shape != self._shape or action.dtype.kind not in ("f" if self._continuous else "iu"):
                given, kind = f"{action.dtype} of shape {action.shape}", "floats" if self._continuous else "integers"
                raise ValueError(f"the action of {agent} is {given}, expected {kind} of shape {self._shape}")
            row[:] = action


class raw_env(AECEnv[str, Observation, NDArray[Any] | None]):  # noqa: N801 PettingZoo's name for it
    """The environment with agents taking turns within the day (AEC); arguments as `parallel_env`.

    What an agent does is kept until the last has acted; then the day passes for all, and all get their rewards.

    Attributes:
        parallel: The `parallel_env` behind it.
    """

    metadata = parallel_env.metadata

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.parallel = parallel = parallel_env(**kwargs)
        self.render_mode = parallel.render_mode
        self.possible_agents = parallel.possible_agents
        self.observation_spaces = parallel.observation_spaces
        self.action_spaces = parallel.action_spaces
        self.state_space = parallel.state_space
        self.agents: list[str] = []
        self.agent_selection = ""
        self._next = dict(zip(self.possible_agents[:-1], self.possible_agents[1:], strict=True))
        self._actions: Actions = {}
        self._observed: Observations = {}

    def observation_space(self, agent: str) -> Box[Any] | Dict:
        """As of `parallel_env`."""
        return self.parallel.observation_space(agent)

    def action_space(self, agent: str) -> MaskedMultiDiscrete | MaskedBox:
        """As of `parallel_env`."""
        return self.parallel.action_space(agent)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Starts an episode, as `parallel_env`; the first agent has the turn."""
        self._observed, self.infos = self.parallel.reset(seed=seed, options=options)
        self.agents = self.possible_agents[:]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self._begin_day()

    def step(self, action: NDArray[Any] | None) -> None:
        """Takes the action of the agent whose turn it is; after the end it must be None, and the agent leaves.

        Raises:
            ValueError: If the action is None; with the last turn of a day, if an agent's value stands for no level.
            RuntimeError: If no episode is under way.
        """
        if not self.agents:
            raise RuntimeError("step() with no episode under way: call reset() first")
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        if action is None:
            raise ValueError(f"the action of {agent} is None, which only an agent may take whose episode is over")
        if not self._actions:
            self.rewards = dict.fromkeys(self.agents, 0.0)
        self._actions[agent] = action
        self._cumulative_rewards[agent] = 0.0
        if agent in self._next:
            self.agent_selection = self._next[agent]
            return
        self._observed, self.rewards, self.terminations, self.truncations, self.infos = self.parallel.step(
            self._actions
        )
        self._cumulative_rewards = self.rewards.copy()
        self._begin_day()

    def observe(self, agent: str) -> Observation:
        """What an agent saw this morning."""
        return self._observed[agent]

    def state(self) -> NDArray[np.float32]:
        """As of `parallel_env`."""
        return self.parallel.state()

    def render(self) -> str | NDArray[np.uint8] | None:
        """As of `parallel_env`."""
        return self.parallel.render()

    def close(self) -> None:
        """As of `parallel_env`."""
        self.parallel.close()

    def _begin_day(self) -> None:
        self._actions = {}
        self.agent_selection = self.possible_agents[0]


def env(**kwargs: Any) -> AECEnv[str, Observation, NDArray[Any] | None]:
    """`raw_env` with PettingZoo's assertions of order and bounds; arguments as `parallel_env`.

    An action outside its space (a number that is nan, say) fails PettingZoo's assertion, which names nothing; `raw_env`
    and `parallel_env` raise the `ValueError` that names agent, component and value.
    """
    return OrderEnforcingWrapper(AssertOutOfBoundsWrapper(raw_env(**kwargs)))
