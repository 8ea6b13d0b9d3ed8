"""The family of heuristics: for each decision the rules there are, their parameters, and how they combine by name.

A member is one rule for each decision. `cost_plus+can_order+eoq_discount` names the rules for routing, the hubs' stock
and the depots' stock; rules for making to stock, overtime and quotes may follow in any order
(`cost_plus+can_order+eoq_discount+no_overtime`), else the first of each is taken. All read observations only ("local").
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fabmesh.agents.heuristics import depot_stock, hub_stock, quoting, routing, sourcing, upkeep, workshop
from fabmesh.agents.heuristics.composed import ComposedPolicy, Rule
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.network.schema.yaml_tree import shown

Value: TypeAlias = float | int
SEPARATOR = "+"


@dataclass(frozen=True)
class Parameter:
    """A number of a rule that can be tuned.

    Attributes:
        low: Least value that is searched.
        high: Largest.
        default: The textbook's value.
        doc: What it is, with its unit.
        whole: Only whole numbers.
    """

    low: float
    high: float
    default: Value
    doc: str
    whole: bool = False


@dataclass(frozen=True)
class Kind:
    """A rule of the family.

    Attributes:
        make: Makes it: `make(scenario, **parameters)`.
        parameters: By name.
    """

    make: Callable[..., Rule]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


_TENDER_ROOM = Parameter(0.3, 2.0, 1.0, "most load until the due day with which a tender is bid for, share of hours")
_SAFETY = Parameter(0.0, 10.0, 2.0, "safety stock, days of base rate")
_CYCLE = Parameter(0.25, 4.0, 1.0, "times the joint economic cycle")
_KIT = Parameter(0.2, 1.5, 1.0, "times the cover of kits, which die with their design")
_DEPOT = {
    "trust": Parameter(0.0, 1.0, depot_stock.TRUST, "weight of smoothed requests in the forecast"),
    "reorder": Parameter(0.2, 2.0, 1.0, "times the reorder point of the textbook"),
    "longest": Parameter(0.3, 3.0, 1.0, "times the longest lot"),
}

FAMILY: Mapping[str, Mapping[str, Kind]] = {
    "routing": {
        "cost_plus": Kind(
            routing.CostPlus,
            {
                "base": Parameter(-0.2, 0.5, 0.15, "mark-up of an idle hub"),
                "slope": Parameter(0.0, 1.5, 0.35, "mark-up that a full week adds"),
                "power": Parameter(1.0, 6.0, 3.0, "how late the mark-up rises with load"),
                "floor": Parameter(-0.15, 0.0, 0.0, "least mark-up asked"),
                "tender_room": _TENDER_ROOM,
            },
        ),
        "nearest": Kind(routing.Nearest, {"markup": Parameter(-0.15, 0.7, 0.0, "mark-up on own cost")}),
        "earliest_finish": Kind(
            routing.EarliestFinish,
            {
                "full": Parameter(0.4, 3.0, 1.0, "load at which the highest mark-up is asked"),
                "tender_room": _TENDER_ROOM,
            },
        ),
        "truthful": Kind(routing.Truthful, {"tender_room": _TENDER_ROOM}),
    },
    "hub_stock": {
        "can_order": Kind(
            hub_stock.CanOrder,
            {
                "safety_d": _SAFETY,
                "cycle": _CYCLE,
                "join": Parameter(0, 2, 1, "can-order level: 0 = s, 1 = midway between s and S, 2 = S", whole=True),
                "kit": _KIT,
            },
        ),
        "s_S": Kind(hub_stock.ReorderPoint, {"safety_d": _SAFETY, "cycle": _CYCLE, "kit": _KIT}),
        "base_stock": Kind(hub_stock.BaseStock, {"safety_d": _SAFETY, "kit": _KIT}),
        "fixed_cover": Kind(
            hub_stock.FixedCover, {"cover_d": Parameter(2.0, 32.0, 10.0, "days of cover of every material")}
        ),
    },
    "depot_stock": {
        "eoq_discount": Kind(depot_stock.EoqWithDiscount, _DEPOT),
        "s_S": Kind(depot_stock.EconomicLot, _DEPOT),
        "base_stock": Kind(depot_stock.BaseStock, _DEPOT),
        "silver_meal": Kind(depot_stock.SilverMeal, _DEPOT),
        "fixed_lot": Kind(
            depot_stock.FixedLot,
            {
                "trigger": Parameter(0.5, 2.5, 1.5, "times the lead-time need"),
                "lot_d": Parameter(10.0, 60.0, 20.0, "days of cover of every lot"),
            },
        ),
    },
    "make_to_stock": {
        "economic_lots": Kind(
            workshop.EconomicLots,
            {
                "lot": Parameter(0.2, 3.0, 1.0, "times the economic lot"),
                "start_d": Parameter(0.0, 4.0, 1.0, "days of sales left below which a lot is started"),
                "room": Parameter(0.2, 2.0, 2.0, "most load of the technicians with which a lot is started"),
            },
        ),
        "make_to_order": Kind(workshop.MakeToOrder),
    },
    "overtime": {
        "overtime_above_plan": Kind(
            workshop.OvertimeAbovePlan, {"planned": Parameter(0.4, 1.5, 0.85, "planned utilisation")}
        ),
        "no_overtime": Kind(workshop.NoOvertime),
    },
    "upkeep": {
        "service_by_age": Kind(
            upkeep.ServiceByAge,
            {
                "interval": Parameter(0.2, 5.0, 1.0, "times the economic interval"),
                "room": Parameter(0.2, 2.0, 1.0, "most load of the technicians with which a service is made"),
            },
        ),
        "run_to_failure": Kind(upkeep.RunToFailure),
    },
    "quoting": {
        "fixed_quote": Kind(quoting.FixedQuote, {"markup": Parameter(0.0, 0.08, 0.02, "mark-up on landed cost")}),
        "scarcity_quote": Kind(
            quoting.ScarcityQuote,
            {
                "plenty": Parameter(0.0, 0.08, 0.0, "mark-up with the lead time covered"),
                "scarce": Parameter(0.0, 0.08, 0.08, "mark-up without stock"),
            },
        ),
    },
    "sourcing": {
        "least_expected_loss": Kind(
            sourcing.LeastExpectedLoss,
            {
                "damage": Parameter(0.0, 3.0, 1.0, "times the cost of what bad and unqualified material spoils"),
                "ahead": Parameter(0, 1, 0, "1 = with nothing to order, the choice for what is nearest", whole=True),
            },
        ),
        "fixed_source": Kind(
            sourcing.FixedSource,
            {
                "spot": Parameter(0, 1, 0, "0 = qualified source, 1 = spot", whole=True),
                "inspection": Parameter(0, 2, 0, "0 = none, 1 = sample, 2 = full", whole=True),
            },
        ),
    },
}
"""Decision -> name of a rule -> the rule; the first of each decision is taken where none is named."""

OF_DEPOTS = ("depot_stock", "quoting", "sourcing")
_SWITCHED = {"upkeep": ("upkeep",), "sourcing": ("source", "inspection")}  # decisions that come with a mechanism
NAMED_FIRST = ("routing", "hub_stock", "depot_stock")  # the order of a member's name


@dataclass(frozen=True)
class Choice:
    """The rule of one decision.

    Attributes:
        rule: Its name.
        parameters: What differs from its textbook values.
    """

    rule: str
    parameters: Mapping[str, Value] = field(default_factory=dict)


def decisions_of(scenario: Scenario) -> tuple[str, ...]:
    """The decisions of the family that a scenario leaves to its agents; the others come with mechanisms it has off."""
    there = {block.name for spec in role_specs(scenario).values() for block in spec.components}
    return tuple(d for d in FAMILY if d not in _SWITCHED or there.intersection(_SWITCHED[d]))


Choices: TypeAlias = Mapping[str, Choice]
"""Decision -> rule."""


def compose(name: str, scenario: Scenario, choices: Choices) -> ComposedPolicy:
    """Put a member of the family together.

    Args:
        name: Name in tables.
        scenario: The network.
        choices: Rules; of a decision that is left out the first rule of the family.

    Raises:
        FabmeshError: If a decision, rule or parameter does not exist, or a value is no number within its bounds.
    """
    require_known(choices)
    rules: dict[str, list[Rule]] = {"hub": [], "depot": []}
    for decision, kinds in FAMILY.items():
        choice = choices.get(decision) or Choice(next(iter(kinds)))
        rule = kinds[choice.rule].make(scenario, **choice.parameters)
        rules["depot" if decision in OF_DEPOTS else "hub"].append(rule)
    return ComposedPolicy(name, scenario, rules)


def require_known(choices: Choices) -> None:
    """Refuse decisions, rules, parameters and values that the family does not have.

    Raises:
        FabmeshError: With the decision, rule or parameter and what there is instead.
    """
    for decision, choice in choices.items():
        if decision not in FAMILY:
            raise FabmeshError(f"rules.{decision}: no such decision; there are {', '.join(FAMILY)}")
        kinds = FAMILY[decision]
        if choice.rule not in kinds:
            raise FabmeshError(f"rules.{decision}.rule: no rule {shown(choice.rule)}; there are {', '.join(kinds)}")
        known = kinds[choice.rule].parameters
        for name, value in choice.parameters.items():
            where = f"rules.{decision}.{name}"
            if name not in known:
                there = ", ".join(known) or "none"
                raise FabmeshError(f"{where}: {choice.rule} has no such parameter; it has {there}")
            wanted = known[name]
            number = isinstance(value, int if wanted.whole else (int, float)) and not isinstance(value, bool)
            if not number or not wanted.low <= value <= wanted.high:
                kind = "a whole number" if wanted.whole else "a number"
                raise FabmeshError(f"{where} = {shown(value)}: must be {kind} from {wanted.low:g} to {wanted.high:g}")


def is_member(name: str) -> bool:
    """Whether a name is one of rules joined by plus signs."""
    return SEPARATOR in name


def choices_of(name: str) -> dict[str, Choice]:
    """The rules that a member's name says.

    Raises:
        FabmeshError: If a part is no rule for its place.
    """
    parts = name.split(SEPARATOR)
    choices: dict[str, Choice] = {}
    for place, part in enumerate(parts):
        open_decisions = NAMED_FIRST[place : place + 1] or tuple(d for d in FAMILY if d not in choices)
        decision = next((d for d in open_decisions if part in FAMILY[d]), None)
        if decision is None:
            there = [rule for d in open_decisions for rule in FAMILY[d]]
            near = difflib.get_close_matches(part, there, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            what = f"rule for {open_decisions[0]}" if place < len(NAMED_FIRST) else "further rule"
            raise FabmeshError(
                f"policy {name!r}: no {what} {part!r}; {hint}there are {', '.join(there) or 'none left'}"
            )
        choices[decision] = Choice(part)
    return choices
