"""What a user compares: policies by name or path, and training runs that belong to one algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from fabmesh.agents.policy import Policy
from fabmesh.agents.registry import SAMPLE_SUFFIX, is_there, is_trained, make_policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.schema.scenario import Scenario

ActionChoice = Literal["likeliest", "sampled", "both"]


@dataclass(frozen=True)
class Entry:
    """One row of the table to be.

    Attributes:
        members: Names or paths of policies; several are training runs of one algorithm.
        name: Name of the row; None: that of its policy, or what the names of its runs have in common.
    """

    members: tuple[str, ...]
    name: str | None = None

    @property
    def trained(self) -> bool:
        """Whether every member is a trained policy."""
        return all(is_trained(member) for member in self.members)

    def policies(self, scenario: Scenario) -> list[Policy]:
        """Its policies, ready for a scenario.

        Raises:
            FabmeshError: If there is no such policy, it does not fit, or the members do not belong together.
        """
        if len(self.members) > 1 and not self.trained:
            odd = next(member for member in self.members if not is_trained(member))
            raise FabmeshError(f"policy {odd!r}: only training runs can be joined by commas; name it on its own")
        made = [make_policy(member, scenario) for member in self.members]
        if len({policy.sees for policy in made}) > 1:
            raise FabmeshError(f"policies {', '.join(self.members)}: they may not see the same, so they are no one row")
        return made

    def row_name(self, policies: Sequence[Policy]) -> str:
        """The name of its row."""
        if self.name is not None:
            return self.name
        if len(policies) == 1:
            return policies[0].name
        names = [policy.name for policy in policies]
        suffix = SAMPLE_SUFFIX if all(name.endswith(SAMPLE_SUFFIX) for name in names) else ""
        letters = zip(*(name.removesuffix(SAMPLE_SUFFIX) for name in names), strict=False)
        common = "".join(at[0] for at in takewhile(lambda at: len(set(at)) == 1, letters)).rstrip("-_. ")
        return f"{common or names[0]}{suffix}"


def parse_entries(arguments: Sequence[str], actions: ActionChoice = "likeliest") -> list[Entry]:
    """Read `--policies`: `NAME`, `PATH`, `PATH,PATH,...` (runs of one algorithm) or `ROW=` before either.

    Args:
        arguments: As typed.
        actions: Which actions trained policies take: their likeliest, sampled ones, or a row for each. A path that
            ends in `:sample` is sampled whatever this says.

    Raises:
        FabmeshError: If an argument names nothing.
    """
    entries: list[Entry] = []
    for argument in arguments:
        entry = _parse(argument)
        asked = any(member.endswith(SAMPLE_SUFFIX) for member in entry.members)
        if actions == "likeliest" or asked or not entry.trained:
            entries.append(entry)
            continue
        name = None if entry.name is None else entry.name + SAMPLE_SUFFIX
        sampled = Entry(tuple(member + SAMPLE_SUFFIX for member in entry.members), name)
        entries += [entry, sampled] if actions == "both" else [sampled]
    return entries


def _parse(argument: str) -> Entry:
    path = argument.removesuffix(SAMPLE_SUFFIX)
    if path and is_there(path):  # a path may hold commas and equals signs
        return Entry((argument,))
    name, equals, rest = argument.partition("=")
    members = tuple(part.strip() for part in (rest if equals else argument).split(","))
    if not all(members) or (equals and not name.strip()):
        raise FabmeshError(f"policy {argument!r}: names nothing; write NAME, PATH, or ROW=PATH,PATH,...")
    return Entry(members, name.strip() if equals else None)
