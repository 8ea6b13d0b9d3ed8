"""`tuned`: the member of the family whose parameters were searched together, read from `configs/tuned/<scenario>.yaml`.

`python -m fabmesh.agents.tune SCENARIO` writes the file; it holds the rules and how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import fabmesh
from fabmesh.agents.heuristics.composed import ComposedPolicy
from fabmesh.agents.heuristics.family import FAMILY, Choice, compose, require_known
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.scenario import Scenario, fingerprint

NAME = "tuned"
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
            "python -m fabmesh.agents.tune FILE.yaml writes rules for it, a policy that is named by its path"
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
    name, made_for = name or path.stem, content.get("scenario", scenario.name)
    if content.get("scenario_sha256") not in (None, fingerprint(scenario)):
        name += f" for another {scenario.name}" if made_for == scenario.name else f", made for {made_for}"
    return compose(name, scenario, _rules(path, content))


def read_rules(path: Path) -> dict[str, Choice]:
    """The rules that a YAML file names under `rules`: decision -> {rule: NAME, parameter: value, ...}.

    Raises:
        FabmeshError: If the file cannot be read, or a rule or value in it does not exist.
    """
    return _rules(path, _content(path))


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FabmeshError(f"{path}: is not YAML ({str(error).splitlines()[0]})") from None
    return content if isinstance(content, dict) else {}


def _rules(path: Path, content: Mapping[str, Any]) -> dict[str, Choice]:
    rules = content.get("rules")
    if not isinstance(rules, dict) or not rules:
        raise FabmeshError(f"{path}: rules: must be there and name a rule for {', '.join(FAMILY)}")
    choices = {str(decision): _choice(path, str(decision), entry) for decision, entry in rules.items()}
    try:
        require_known(choices)
    except FabmeshError as error:
        raise FabmeshError(f"{path}: {error}") from None
    return choices


def _choice(path: Path, decision: str, entry: Any) -> Choice:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("rule"), str):
        raise FabmeshError(f"{path}: rules.{decision} = {entry!r}: must be {{rule: NAME, parameter: value, ...}}")
    return Choice(entry["rule"], {str(name): value for name, value in entry.items() if name != "rule"})


def plain(choices: Mapping[str, Choice]) -> dict[str, dict[str, Any]]:
    """Rules as the values of a YAML file, decision by decision in the family's order."""
    return {
        decision: {"rule": choices[decision].rule, **choices[decision].parameters}
        for decision in FAMILY
        if decision in choices
    }
