"""Settings of a training: frozen dataclasses that the YAML files and the command line both fill.

The text below each field is its help on the command line. Flags carry the same names as the keys of the files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_type_hints

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.schema.yaml_tree import shown

Algorithm = Literal["mappo", "ippo", "sb3_ppo", "sb3_a2c", "sb3_maskable_ppo"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
SB3_ALGORITHMS = tuple(name for name in ALGORITHMS if name.startswith("sb3_"))
"""Those of Stable-Baselines3 and sb3-contrib (`fabmesh.agents.learning.algorithms.sb3`)."""


class ConfigError(FabmeshError):
    """A setting is unknown or impossible.

    Attributes:
        key: Name of the setting, empty if none in particular.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Bounds:
    """What a number may be, beside its declaration: `Annotated[int, Bounds(1, 9)]`.

    Attributes:
        low: The least.
        high: The largest; infinite: any finite number.
        above: The least itself is not allowed.
    """

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return math.isfinite(value) and (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        """In words, for messages."""
        if (self.low, self.high, self.above) == (0, 1, False):
            return "a share from 0 to 1"
        low, high = (f"{end:,.10g}" for end in (self.low, self.high))
        if math.isinf(self.high):
            return f"{'above' if self.above else 'at least'} {low}, and finite"
        return f"above {low}, at most {high}" if self.above else f"from {low} to {high}"


Share: TypeAlias = Annotated[float, Bounds(0, 1)]
StepSize: TypeAlias = Annotated[float, Bounds(0, above=True)]
Weight: TypeAlias = Annotated[float, Bounds(0, 1e6)]
Copies: TypeAlias = Annotated[int, Bounds(1, 16_384)]
Passes: TypeAlias = Annotated[int, Bounds(1, 10_000)]
Width: TypeAlias = Annotated[int, Bounds(1, 4_096)]
Threads: TypeAlias = Annotated[int, Bounds(1, 1_024)]
MOST_DAYS = 10_000  # no episode is longer
MOST_LAYERS = 8
MOST_SEED = 2**32 - 1  # what NumPy's global generator takes, from which Stable-Baselines3 draws
MOST_STEPS = 10**12


@dataclass(frozen=True)
class RolloutConfig:
    """What is collected between two updates."""

    copies: Copies = 64
    """copies of the network stepped together"""
    group: Copies = 8
    """copies that share a world; the mean advantage of the group, per day, is subtracted (1 = off)"""
    days: Annotated[int, Bounds(0, MOST_DAYS)] = 60
    """days collected from every copy between two updates; 0 = an episode of the scenario"""
    persistence: Annotated[float, Bounds(1, 1e9)] = 1.0
    """mean days a random draw of exploration is kept: an order level that is tried for one day shows no effect"""
    correlation: Share = 0.0
    """share of a draw of exploration that all agents of a role have in common for all components of a block"""
    antithetic: bool = False
    """the second half of each group explores with the first half's draws, negated"""
    branch: bool = False
    """before each collection, put all copies of a group into the state of one of them"""


@dataclass(frozen=True)
class PpoConfig:
    """The update."""

    epochs: Passes = 3
    """passes over the collected data"""
    minibatches: Annotated[int, Bounds(1, 1e6)] = 4
    """minibatches of a pass"""
    learning_rate: StepSize = 3e-4
    """step size of Adam for the policies, at the start"""
    residual_learning_rate: Annotated[float, Bounds(0)] = 0.0
    """step size of Adam for the residual, levels; above 0 only the residual is trained and the network stays"""
    share: Annotated[float, Bounds(0, 1, above=True)] = 1.0
    """share of the days collected that each pass learns from, drawn at random: with lasting exploration one day of an
    episode tells much of what the others do"""
    critic_learning_rate: StepSize = 1e-3
    """step size of Adam for the critics"""
    schedule: Literal["constant", "linear", "adaptive"] = "linear"
    """learning rate of the policies: as it is; falling to a tenth over the run; or following target-kl"""
    target_kl: Weight = 0.2
    """divergence of an agent's whole action (nats) at which a role's update stops early; 0 = never"""
    clip: Annotated[float, Bounds(0, 1e6, above=True)] = 0.2
    """half-width of the range to which the probability ratio is clipped"""
    ratio: Literal["component", "joint"] = "component"
    """clip the ratio of each action component, or of the whole action of an agent, as sb3_* always do"""
    entropy: Weight = 0.003
    """weight of the mean entropy of a component (nats) in the loss, at the start"""
    entropy_end: Weight = 0.0
    """the same at the end of the run; between them it moves linearly"""
    entropy_of: dict[str, tuple[Weight, Weight]] = field(default_factory=dict)
    """both weights of components of their own, by role.block: hub.make_to_stock 0.02 0.005 keeps one in use that would
    be given up before it has shown what it is good for"""
    reward: Literal["mixed", "difference"] = "mixed"
    """mixed: network cost and own cost less own income, by team-weight; difference: an agent's reward is the network's
    cost less what the other agents of its role spend on stock and upkeep, in which it has no hand"""
    team_weight: Share | None = None
    """share of the network's cost in the mixed reward that is learned from; none = the scenario's. Policies are judged
    by network cost all the same"""
    gamma: Share = 0.99
    """discount per day"""
    gae_lambda: Share = 0.95
    """decay of the advantage estimator per day: 0 = one step, 1 = Monte Carlo"""
    baseline: Literal["critic", "group"] = "critic"
    """what returns are compared with: a critic and the group's mean; or, without a critic, the group's mean alone.
    With lasting exploration a critic reads the draw off the state it led to, and takes its effect for the state's"""
    credit: Literal["day", "episode"] = "day"
    """what an action is judged by: what followed it; or the whole episode, for draws that last as long (a group's copy
    that has bought much has paid its freight before today). Needs days to be the episode's"""
    scores: Literal["cost", "ranks"] = "cost"
    """what counts of an advantage: its amount; or the normal score of its rank in its group, none outweighs all"""
    critic_tape: bool = False
    """the central critic also reads what the world will bring in the next days whatever anyone does: orders, outages.
    Critics are for training alone, and a baseline that knows the tape leaves the policy gradient unbiased"""
    settlement: bool = False
    """at the end of an episode, count its settlement instead of the value of a network that goes on"""
    stock_charge: Share = 0.0
    """share of its value charged when stock is bought and given back when it is used, in the reward learned from"""
    lost_weight: Weight = 0.0
    """what a EUR of lost orders counts on top of itself in the reward learned from: above 0 less is lost, at a cost"""
    supply_weight: Weight = 0.0
    """the same of a EUR of order cost, freight of material, and deadstock"""
    max_grad_norm: Annotated[float, Bounds(0, 1e9, above=True)] = 0.5
    """norm to which gradients are clipped, per role"""

    def entropy_at(self, progress: float) -> float:
        """Weight of the entropy when so much of the run is over (0 to 1)."""
        return self.entropy + progress * (self.entropy_end - self.entropy)


@dataclass(frozen=True)
class NetworkConfig:
    """The networks."""

    hidden: tuple[Width, ...] = (128, 128)
    """widths of the hidden layers of a policy's trunk"""
    item_width: Width = 32
    """width of the encoders shared by all lanes, tender slots, materials or products"""
    critic_hidden: tuple[Width, ...] = (128, 128)
    """widths of the hidden layers of a critic"""
    standardise: bool = False
    """features reach the networks with mean 0 and deviation 1, by block, as the teacher's worlds have them: whether a
    machine is due shows in the second decimal of its wear"""
    spread: Annotated[float, Bounds(0, 1_000)] = 0.0
    """levels that are numbers follow a discrete bell of this deviation (levels) around a mean level; 0 = a free logit
    for each level"""
    residual: bool = False
    """a correction of the mean levels, linear in features; needs spread"""
    residual_features: Share = 0.5
    """share of the exploration's variance that follows those features; the rest is constant"""
    agent_embedding: bool = False
    """give each agent a learned offset; in a network of other agents their mean takes its place"""


@dataclass(frozen=True)
class ImitationConfig:
    """The start: the policies first imitate a heuristic."""

    teacher: str = "base_stock"
    """heuristic to imitate; none = start from random weights, as sb3_* always do"""
    imitation_copies: Copies = 32
    """copies of the network shown"""
    imitation_days: Annotated[int, Bounds(1, MOST_DAYS)] = 90
    """days shown per round"""
    imitation_rounds: Annotated[int, Bounds(1, 1_000)] = 2
    """rounds; in the first the teacher acts, in the others the pupil, and the teacher says what it would have done"""
    imitation_epochs: Passes = 8
    """passes over what was shown so far, per round"""
    imitation_learning_rate: StepSize = 1e-3
    """step size of Adam"""
    imitation_noise: Share = 0.1
    """share of the teacher's components moved to a neighbouring level while it acts, so that more is seen"""
    smoothing: Share = 0.1
    """probability put on the levels next to the teacher's: the first exploration is local"""
    critic_iterations: Annotated[int, Bounds(0, 1e6)] = 2
    """iterations in which only the critics learn, before the policies move"""


@dataclass(frozen=True)
class ValidationConfig:
    """How the best checkpoint is chosen; the test seeds are never looked at."""

    validation_seeds: Annotated[int, Bounds(2, 10_000)] = 64
    """validation worlds, one episode each"""
    validation_every: Annotated[int, Bounds(1, 1e9)] = 10
    """iterations between two validations"""
    opponents: tuple[str, ...] = ("base_stock",)
    """policies whose scores are drawn beside the learner's; differences are paired with the first"""


@dataclass(frozen=True)
class MachineConfig:
    """Use of the machine."""

    torch_threads: Threads = 1
    """threads of PyTorch; results are the same from run to run on one"""
    env_threads: Threads = 2
    """threads that step the copies, draw their actions and work out gradients; results do not depend on it. Each of
    them has torch-threads when it works with networks, so raise one of the two"""
    device: str = "cpu"
    """where networks and optimisers are: cpu, cuda, or cuda:N for one of several GPUs (not measured: none was at hand).
    Worlds, draws of levels and the policy loss stay on the processor; checkpoints load anywhere"""


@dataclass(frozen=True)
class TrainConfig:
    """Trains the agents of a hub network and keeps the policies that cost least on validation worlds.

    One step is one day of one copy of the network. The run directory receives TensorBoard logs, progress.csv,
    config.yaml and the checkpoints best.pt and last.pt. Settings come from the command line, else from one file, else
    from the defaults shown here. The file is --config, or without it the shipped one of the algorithm and scenario, or
    else of the algorithm (configs/training); it is not laid over another: begin your own from a copy.
    """

    scenario: str = "rotterdam"
    """shipped scenario or path of a scenario file"""
    algo: Algorithm = "mappo"
    """mappo: central critic; ippo: local critics; sb3_ppo, sb3_a2c: PPO and A2C of Stable-Baselines3, sb3_maskable_ppo:
    MaskablePPO of sb3-contrib, with one network for all roles and from random weights. Only MaskablePPO knows masks:
    to the others a masked level is one that does nothing"""
    seed: Annotated[int, Bounds(0, MOST_SEED)] = 1
    """seed of weights, exploration and training worlds"""
    total_steps: Annotated[int, Bounds(0, MOST_STEPS)] = 1_000_000
    """environment steps (copies x days), rounded up to whole iterations (rollout copies x days); 0 = imitation only"""
    max_minutes: Annotated[float, Bounds(0, 1e7, above=True)] | None = None
    """stop after so many minutes, imitation included; schedules follow total-steps all the same, so that a run that
    gets to its steps in time does not depend on the machine"""
    run_dir: Path | None = None
    """directory of the run; default runs/{scenario}_{algo}_{seed}"""
    config: Path | None = None
    """YAML file with settings, in place of the shipped one; flags win over it"""
    init_from: str | None = None
    """trained policy to begin from, in place of imitation: a run directory, a .pt file or shipped:NAME, also of another
    scenario; weights are matched by the names of what is seen and decided"""
    resume: bool = False
    """go on with the run in the run directory, exactly where its last checkpoint stands"""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)

    @property
    def directory(self) -> Path:
        """Directory of the run."""
        if self.run_dir is not None:
            return self.run_dir
        return Path("runs") / f"{Path(self.scenario).stem}_{self.algo}_{self.seed}"

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps between two updates."""
        return self.rollout.copies * self.rollout.days


SECTIONS: tuple[str, ...] = ("rollout", "ppo", "network", "imitation", "validation", "machine")
"""Sections of a configuration file."""
FILE_KEYS: tuple[str, ...] = ("total_steps", "max_minutes")
"""Keys a configuration file may hold beside the sections; the others belong to one run and are flags."""


_OF_SB3 = frozenset((
    "copies", "group", "days", "epochs", "minibatches", "learning_rate", "schedule", "target_kl", "clip", "ratio",
    "entropy", "entropy_end", "gamma", "gae_lambda", "team_weight", "max_grad_norm", "hidden", "critic_hidden",
))  # fmt: skip
"""Settings of what is learned, and how, that the algorithms of Stable-Baselines3 follow or need not."""


def defaults_of(algo: str) -> TrainConfig:
    """What an algorithm's settings are before any file or flag."""
    if algo not in SB3_ALGORITHMS:
        return TrainConfig()
    return TrainConfig(algo=algo, imitation=ImitationConfig(teacher="none"))


def setting_names() -> dict[str, str]:
    """Every setting's name -> the section it is in ("" for the top level)."""
    names = {f.name: "" for f in fields(TrainConfig) if f.name not in SECTIONS}
    defaults = TrainConfig()
    for section in SECTIONS:
        names.update({f.name: section for f in fields(getattr(defaults, section))})
    return names


def as_flat(config: TrainConfig) -> dict[str, Any]:
    """Every setting's name -> its value."""
    return {
        name: getattr(getattr(config, section) if section else config, name)
        for name, section in setting_names().items()
    }


@cache
def bounds() -> dict[str, Bounds]:
    """What the numbers of a setting may be, by its name."""
    sections = (type(getattr(TrainConfig(), section)) for section in SECTIONS)
    types = [get_type_hints(kind, include_extras=True) for kind in (TrainConfig, *sections)]
    return {name: bound for hints in types for name, hint in hints.items() for bound in _bounds_in(hint)}


def _bounds_in(hint: Any) -> Iterator[Bounds]:
    """The bounds anywhere in a type."""
    if isinstance(hint, Bounds):
        yield hint
    for part in (*get_args(hint), *getattr(hint, "__metadata__", ())):
        yield from _bounds_in(part)


def _numbers_in(value: Any) -> Iterator[float]:
    """The numbers of a setting: its own, or those of its list or names."""
    if isinstance(value, (dict, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers_in(item)
    elif value is not None:
        yield value


def require_bounds(values: Mapping[str, Any]) -> None:
    """Refuse numbers that are too small, too large or not finite.

    Raises:
        ConfigError: Naming the setting.
    """
    for key, allowed in bounds().items():
        for number in _numbers_in(values.get(key)):
            _require(number in allowed, key, number, str(allowed))


def validate(config: TrainConfig) -> None:
    """Refuse impossible values with one line naming the key, the value and what is allowed."""
    values = as_flat(config)
    require_bounds(values)
    _require(
        values["smoothing"] < 0.9, "smoothing", values["smoothing"], "below 0.9, so that the teacher's level stays"
    )
    for key in ("hidden", "critic_hidden"):
        widths = values[key]
        _require(0 < len(widths) <= MOST_LAYERS, key, list(widths), f"from 1 to {MOST_LAYERS} widths")
    copies, group = config.rollout.copies, config.rollout.group
    _require(copies % group == 0, "group", group, f"a divisor of copies ({copies})")
    halves = not config.rollout.antithetic or group % 2 == 0
    _require(halves, "antithetic", True, f"off, or an even group, not {group}")
    network, rate = config.network, config.ppo.residual_learning_rate
    _require(not network.residual or network.spread > 0.0, "residual", True, "off, or a spread above 0")
    _require(network.residual or rate == 0.0, "residual_learning_rate", rate, "0, or a network with a residual")
    alone = config.ppo.baseline == "group" and group == 1
    _require(not alone, "baseline", "group", "critic, or a group of more than 1 copy")
    ranked = config.ppo.scores == "ranks"
    _require(not ranked or group > 1, "scores", "ranks", "cost, or a group of more than 1 copy")
    _require_sense(config)
    _require(config.rollout.days != 1, "days", 1, "0 (an episode), or at least 2")
    steps = config.steps_per_iteration or copies  # days 0: not known yet
    _require(config.ppo.minibatches <= steps, "minibatches", config.ppo.minibatches, f"at most copies x days ({steps})")
    _require(len(config.validation.opponents) > 0, "opponents", [], "at least one policy to compare with")
    device = config.machine.device
    _require(re.fullmatch(r"cpu|cuda(:\d+)?", device) is not None, "device", device, "cpu, cuda or cuda:N")
    if config.algo in SB3_ALGORITHMS:
        _require_what_sb3_can(config, values)


def _require_what_sb3_can(config: TrainConfig, values: dict[str, Any]) -> None:
    """Refuse what the run would silently be without."""
    _require(config.init_from is None, "init_from", config.init_from, "with mappo and ippo")
    teacher, schedule = config.imitation.teacher, config.ppo.schedule
    _require(teacher == "none", "teacher", teacher, f"none: {config.algo} starts from random weights")
    _require(schedule != "adaptive", "schedule", schedule, f"constant or linear with {config.algo}")
    usual = as_flat(TrainConfig())
    for key, section in setting_names().items():
        if section in ("rollout", "ppo", "network") and key not in _OF_SB3:
            allowed = f"{usual[key]} with {config.algo}, which does without it"
            _require(values[key] == usual[key], key, values[key], allowed)


def _require_sense(config: TrainConfig) -> None:
    """Refuse settings of which one would have no effect, or no meaning, beside the other."""
    ppo, network = config.ppo, config.network
    critic = ppo.baseline == "critic"
    _require(
        not ppo.critic_tape or (critic and config.algo == "mappo"),
        "critic_tape",
        True,
        "off, or the central critic of mappo with baseline critic",
    )
    _require(
        critic or ppo.gae_lambda == 1.0,
        "gae_lambda",
        ppo.gae_lambda,
        "1 with baseline group: without a critic it would be another discount; that is gamma",
    )
    for key, value in (("gamma", ppo.gamma), ("gae_lambda", ppo.gae_lambda)):
        _require(
            ppo.credit == "day" or value == 1.0,
            key,
            value,
            "1 with credit episode, which counts every day of the episode alike; or credit day",
        )
    taught = config.imitation.teacher != "none"
    _require(taught or not network.residual, "residual", True, "off, or a teacher: it corrects an imitated policy")
    weight = ppo.team_weight
    _require(weight is None or ppo.reward == "mixed", "team_weight", weight, "none with reward difference")
    require_team_reward(config, 1.0 if weight is None else weight)


def require_team_reward(config: TrainConfig, team_weight: float) -> None:
    """Refuse what is charged to every agent for costs of the network where agents are paid for their own.

    Args:
        config: The settings.
        team_weight: Share of the network's cost in the rewards.

    Raises:
        ConfigError: Naming the setting.
    """
    for name in ("stock_charge", "lost_weight", "supply_weight"):
        charge = getattr(config.ppo, name)
        if charge > 0.0 and team_weight < 1.0:
            raise ConfigError(
                f"{name}: {charge:g} charges every agent for costs of the network, which needs the team reward, not "
                f"team_weight {team_weight:g}. Set {name} to 0 or team_weight to 1",
                name,
            )


def _require(holds: bool, key: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{key}: {shown(value)} is not possible; allowed: {allowed}", key)
