"""`tuned`: the member of the family whose parameters were searched together, read from `configs/tuned/<scenario>.yaml`.

`python -m fabmesh.agents.commands.tune SCENARIO` writes the file; it holds the rules and how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fabmesh
from fabmesh.agents.heuristics.composed import ComposedPolicy
from fabmesh.agents.heuristics.family import FAMILY, Choice, compose, require_known
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.schema.scenario import Scenario, fingerprint
from fabmesh.envs.network.schema.yaml_tree import Keys, Leaf, Node, Place, join, nearest, parse, refusal

NAME = "tuned"
KEYS = ("rules", "scenario", "scenario_sha256", "search")
"""What a file of rules may hold; `search` is only for whoever reads it."""
DIRECTORY = Path(fabmesh.__file__).parent / "configs" / NAME


def path_for(scenario: Scenario) -> Path:
    """Where the tuned rules of a scenario are kept."""
    return DIRECTORY / f"{scenario.name}.yaml"


def make(scenario: Scenario) -> ComposedPolicy:
    """The tuned policy of a scenario.

    Rules that were tuned for other numbers under the same name (a scenario that was changed, or a file of one's own)
    say so in their name, which every table shows: they are no opponent for a claim about these numbers.

    Raises:
        FabmeshError: If nothing has been tuned for it, or the file is wrong.
    """
    path = path_for(scenario)
    if not path.is_file():
        raise FabmeshError(
            f"policy 'tuned': nothing is tuned for scenario {scenario.name!r}; "
            "python -m fabmesh.agents.commands.tune FILE.yaml writes rules for it, a policy that is named by its path"
        )
    return from_file(path, scenario, NAME)


def from_file(path: Path, scenario: Scenario, name: str | None = None) -> ComposedPolicy:
    """The policy of a YAML file of rules, called by the file's name unless it is given another.

    A file may say by its hash for which numbers it was tuned (`scenario_sha256`, as a search writes it). On others its
    rules still act, but its name says for which scenario they were tuned.

    Raises:
        FabmeshError: If the file cannot be read, or a rule or value in it does not exist.
    """
    content = _content(path)
    made_for = _word(content, "scenario") or scenario.name
    name = name or path.stem
    if _word(content, "scenario_sha256") not in (None, fingerprint(scenario)):
        name += f" for another {scenario.name}" if made_for == scenario.name else f", made for {made_for}"
    return compose(name, scenario, _rules(content))


def read_rules(path: Path) -> dict[str, Choice]:
    """The rules that a YAML file names under `rules`: decision -> {rule: NAME, parameter: value, ...}.

    Raises:
        FabmeshError: If the file cannot be read, or a rule or value in it does not exist.
    """
    return _rules(_content(path))


def _content(path: Path) -> Keys:
    content = parse(path, FabmeshError)
    if not isinstance(content, Keys) or "rules" not in content.entries:
        raise FabmeshError(f"{path}: rules: must be there and name a rule for {', '.join(FAMILY)}")
    for key, place in content.key_places.items():
        if key not in KEYS:
            raise _wrong(place, key, f"is unknown; {nearest(key, KEYS)}")
    return content


def _wrong(place: Place, key: str, text: str) -> FabmeshError:
    return refusal(place, key, text, FabmeshError)


def _word(content: Keys, key: str) -> str | None:
    """What a key says, if it is there."""
    node = content.entries.get(key)
    if node is None:
        return None
    if not isinstance(node, Leaf) or not isinstance(node.value, str):
        raise _wrong(node.place, key, "must be text; quote it")
    return node.value


def _rules(content: Keys) -> dict[str, Choice]:
    rules = content.entries["rules"]
    if not isinstance(rules, Keys) or not rules.entries:
        raise _wrong(rules.place, "rules", f"must name a rule for {', '.join(FAMILY)}")
    return {decision: _choice(decision, rules.key_places[decision], entry) for decision, entry in rules.entries.items()}


def _choice(decision: str, place: Place, entry: Node) -> Choice:
    where = join("rules", decision)
    rule = entry.entries.get("rule") if isinstance(entry, Keys) else None
    if not isinstance(entry, Keys) or not isinstance(rule, Leaf) or not isinstance(rule.value, str):
        raise _wrong(place, where, "must be {rule: NAME, parameter: value, ...}")
    choice = Choice(rule.value)
    _require_known(place, {decision: choice})
    for name, value in entry.entries.items():
        if name == "rule":
            continue
        if not isinstance(value, Leaf):
            raise _wrong(value.place, join(where, name), "must be a number")
        number: Any = value.value  # whether it is one is checked as everywhere
        _require_known(entry.key_places[name], {decision: Choice(choice.rule, {name: number})})
        choice = Choice(choice.rule, {**choice.parameters, name: number})
    return choice


def _require_known(place: Place, choices: Mapping[str, Choice]) -> None:
    try:
        require_known(choices)
    except FabmeshError as error:
        raise _wrong(place, "", str(error)) from None


def plain(choices: Mapping[str, Choice]) -> dict[str, dict[str, Any]]:
    """Rules as the values of a YAML file, decision by decision in the family's order."""
    return {
        decision: {"rule": choices[decision].rule, **choices[decision].parameters}
        for decision in FAMILY
        if decision in choices
    }
