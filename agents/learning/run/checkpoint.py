"""Checkpoints: plain tensors and numbers, written atomically, read without executing anything from the file.

`best.pt` holds the policies that cost least on the validation worlds, `last.pt` also what a resumed run needs.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import shlex
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from fabmesh.agents.learning.batch import RoleSpec
from fabmesh.agents.learning.config import (
    ALGORITHMS,
    SB3_ALGORITHMS,
    ConfigError,
    NetworkConfig,
    TrainConfig,
    require_bounds,
)
from fabmesh.agents.learning.policy import transfer
from fabmesh.agents.learning.policy.networks import RolePolicy
from fabmesh.agents.learning.policy.trained_policy import LearnedPolicy
from fabmesh.agents.learning.policy.transfer import Names
from fabmesh.agents.learning.run.settings import as_flags, as_plain, from_plain
from fabmesh.agents.policy import Policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import is_folder, write_whole
from fabmesh.envs.network.books.restored import copied
from fabmesh.envs.network.schema.scenario import Scenario

FORMAT = 2
"""Of what is written: 1 had no checksum, and is still read."""
BEST, LAST = "best.pt", "last.pt"
CHECKSUM = "checksum"
OWN_KINDS = tuple(kind for kind in ALGORITHMS if kind not in SB3_ALGORITHMS)
"""Kinds whose policies are our own: another training can begin from them, and they need no other library."""
OF_WEIGHTS = ("hidden", "item_width", "standardise", "spread", "residual", "residual_features")
"""Settings of the networks that the meaning of a policy's weights depends on."""
REMEDY = "train again or give another file"
UNUSABLE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What PyTorch, NumPy and Python raise when content read from a file is not what it should be."""

Signature = dict[str, dict[str, Any]]


class CheckpointError(FabmeshError):
    """A checkpoint cannot be used, in one line."""


def signature(spec: Mapping[str, RoleSpec]) -> Signature:
    """What a policy's weights depend on: per role the blocks of features and of components, with sizes and names."""
    return {
        role: {
            "features": [[block.name, block.count] for block in layout.features],
            "components": [
                [block.name, *layout.nvec[block.start : block.start + block.count].tolist()]
                for block in layout.components
            ],
            "names": transfer.names_of(layout),
        }
        for role, layout in spec.items()
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint so that the path always holds a whole one: to a file beside it, then in its place.

    Its tensors are on the CPU, wherever the networks are: it can be read on any machine. A checksum of all of it is
    inside, by which a reader notices a flipped bit.
    """
    plain = _on_cpu({**content, "format": FORMAT})

    def save(draft: Path) -> None:
        with draft.open("wb") as file:
            torch.save({**plain, CHECKSUM: _digest(plain)}, file)

    write_whole(path, save)


def _on_cpu(tree: Any) -> Any:
    """The same mappings, lists and plain values, with every tensor on the CPU."""
    if isinstance(tree, torch.Tensor):
        return tree.cpu()
    if isinstance(tree, Mapping):
        return {key: _on_cpu(value) for key, value in tree.items()}
    return [_on_cpu(value) for value in tree] if isinstance(tree, (list, tuple)) else tree


def _digest(tree: Any) -> str:
    """SHA-256 of mappings, lists, tensors and plain values, with their names, types and shapes."""
    found = hashlib.sha256()

    def feed(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            found.update(f"{part.dtype} {list(part.shape)};".encode())
            found.update(part.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(part, (Mapping, list, tuple)):
            found.update(f"{len(part)} in {'mapping' if isinstance(part, Mapping) else 'list'};".encode())
            for item in chain.from_iterable(part.items()) if isinstance(part, Mapping) else part:
                feed(item)
        else:
            found.update(f"{type(part).__name__} {part!r};".encode())

    feed(tree)
    return found.hexdigest()


def damaged(path: Path, why: str) -> CheckpointError:
    """The error that says so of a file, in one line."""
    return CheckpointError(f"{path}: is not a fabmesh checkpoint, or is damaged ({why}): {REMEDY}")


def first_line(error: Exception) -> str:
    """The error in one line; PyTorch's list what is wrong below a headline."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    headline = len(lines) > 1 and lines[0].endswith(":")
    return lines[headline].rstrip(".") if lines else type(error).__name__


def locate(path: Path) -> Path:
    """The file that is meant: of a run directory the best checkpoint, else the last."""
    if not is_folder(path):
        return path
    found = next((path / name for name in (BEST, LAST) if (path / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{path}: no {BEST} or {LAST} in this directory; train there first (--run-dir {path})")
    return found


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file, or of the best one of a run directory."""
    path = locate(path)
    try:
        with path.open("rb") as file:
            content = plain_tensors(file)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint; give a run directory or a .pt file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}); {REMEDY}") from None
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if not isinstance(content, dict) or "format" not in content:
        raise damaged(path, "it names no format")
    if type(content["format"]) is not int:
        raise damaged(path, "its format is no number")
    if content["format"] not in (1, FORMAT):
        raise CheckpointError(f"{path}: a checkpoint of format {content['format']}, not {FORMAT}: {REMEDY}")
    checksum = content.pop(CHECKSUM, None)
    if (checksum is not None or content["format"] == FORMAT) and checksum != _digest_of_file(content):
        raise damaged(path, "its checksum is not that of its content")
    return content


def _digest_of_file(content: Any) -> str | None:
    """The checksum of what was read; None if it is nothing that `write` writes."""
    try:
        return _digest(content)
    except UNUSABLE:
        return None


def plain_tensors(file: BinaryIO) -> Any:
    """What `torch.save` wrote to a file, as plain tensors and numbers; nothing in it is executed.

    Raises:
        ValueError: It is no such file, or would unfold to more than it is long, which PyTorch never makes it do.
        OSError: It cannot be read.
    """
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > file.seek(0, os.SEEK_END):
                    raise ValueError
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it thinks of garbage
            content = torch.load(file, map_location="cpu", weights_only=True)
        if any(t.numel() * t.element_size() > t.untyped_storage().nbytes() for t in _tensors(content)):
            raise ValueError
    except OSError:
        raise
    except Exception:  # anything, from garbage; PyTorch's advice would be to execute the file
        raise ValueError("PyTorch cannot read it as plain tensors and numbers") from None
    return content


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested mappings and lists."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (Mapping, list, tuple)):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _tensors(value)


def read_whole(path: Path, resumable: bool = False) -> dict[str, Any]:
    """The content of a checkpoint with all that a policy is made from.

    Args:
        path: File or run directory.
        resumable: It must also hold what a resumed run needs.

    Raises:
        CheckpointError: If something is missing, is of another kind than it should be, or is not finite.
    """
    path = locate(path)
    content = read(path)
    wanted = {"kind": str, "scenario": str, "signature": dict, "agents": dict, "config": dict, "weights": dict}
    for name, kind in (wanted | ({"state": dict} if resumable else {})).items():
        if name not in content:
            raise damaged(path, f"{name} is missing")
        if not isinstance(content[name], kind):
            raise damaged(path, f"{name} is not what it should be")
    if content["kind"] not in ALGORITHMS:
        raise damaged(path, f"unknown kind {content['kind']!r}, known are {', '.join(ALGORITHMS)}")
    for name, value in _leaves(content["weights"], "weights"):
        if not isinstance(value, torch.Tensor):
            raise damaged(path, f"{name} is not a tensor")
    moved = {"weights": content["weights"]} | ({"state": content["state"].get("inner")} if resumable else {})
    wrong = not_finite(moved)
    if wrong is not None:
        raise damaged(path, f"{wrong} holds numbers that are not finite")
    try:
        require_bounds(vars(from_plain(content["config"]).network))  # what its networks take of memory
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}: {REMEDY}") from None
    except UNUSABLE as error:
        raise damaged(path, f"its settings: {first_line(error)}") from None
    return content


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What nested mappings and lists hold, by dotted name."""
    if isinstance(tree, (Mapping, list, tuple)):
        for key, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, tree


def not_finite(tree: Mapping[str, Any]) -> str | None:
    """The dotted name of the first tensor or number of nested mappings and lists that is not finite; None: all are."""
    for name, value in _leaves(tree):
        finite = torch.isfinite(value).all() if isinstance(value, torch.Tensor) else True
        if not finite or (isinstance(value, float) and not math.isfinite(value)):
            return name
    return None


def count_in(state: Mapping[str, Any], name: str) -> int:
    """A count that a file holds.

    Raises:
        ValueError: If it is none.
    """
    value = state[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}, which is no count")
    return value


def restore_optimiser(optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Put back the step size and the moments of an optimiser; all else of it is the settings'.

    Args:
        optimiser: As the settings make it.
        saved: Its `state_dict`, from a file.

    Raises:
        ValueError: If that is of other parameters.
    """
    settings = [{name: value for name, value in group.items() if name != "lr"} for group in optimiser.param_groups]
    optimiser.load_state_dict(dict(saved))
    for group, own in zip(optimiser.param_groups, settings, strict=True):
        if not isinstance(group["lr"], float) or not 0.0 <= group["lr"] < math.inf:
            raise ValueError(f"the step size {group['lr']!r} is none")
        group.update(own)
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if not isinstance(value, torch.Tensor) or (value.dim() > 0 and value.shape != parameter.shape):
                raise ValueError(f"the moments {name} of an optimiser are not those of its parameters")


def policy_content(
    kind: str, scenario: str, spec: Mapping[str, RoleSpec], config: TrainConfig, weights: Mapping[str, Any]
) -> dict[str, Any]:
    """The part of a checkpoint that a policy is made from."""
    return {
        "kind": kind,
        "scenario": scenario,
        "signature": signature(spec),
        "agents": {role: len(layout.agents) for role, layout in spec.items()},
        "config": as_plain(config),
        "weights": dict(weights),
    }


def require_fit(content: Mapping[str, Any], path: Path, scenario: str, spec: Mapping[str, RoleSpec]) -> None:
    """Refuse a checkpoint whose policies do not fit the scenario, naming the first difference."""
    difference = _difference(content, path, spec)
    if difference is not None:
        raise _unfit(content, path, scenario, difference)


def fitting_weights(
    content: Mapping[str, Any],
    path: Path,
    scenario: str,
    spec: Mapping[str, RoleSpec],
    network: NetworkConfig | None = None,
) -> dict[str, Any]:
    """The weights of a checkpoint's policies for a scenario: as they are if they fit, else moved (`transfer`).

    Args:
        content: Of the checkpoint.
        path: Its file, for messages.
        scenario: Name of the scenario.
        spec: Its layout.
        network: Of the policies that are to have the weights; None: as in the checkpoint.

    Raises:
        CheckpointError: If that is not possible.
    """
    difference = _difference(content, path, spec)
    its_own = from_plain(content["config"]).network
    network = its_own if network is None else network
    if difference is None and network.agent_embedding == its_own.agent_embedding:
        return dict(content["weights"])
    if content["kind"] in SB3_ALGORITHMS:
        raise _unfit(content, path, scenario, f"{difference}, and policies of SB3 are not moved")
    same_agents = content["agents"] == _agents(spec)
    weights = {}
    for role, layout in spec.items():
        policy, here = RolePolicy(layout, network), Names.of(layout)
        try:
            there = _names_there(content, role, layout)
            weights[role] = transfer.moved(content["weights"][role], there, policy, here, same_agents)
        except transfer.DoesNotFitError as error:
            raise _unfit(content, path, scenario, f"{role} {error}") from None
        except UNUSABLE as error:
            raise damaged(path, first_line(error)) from None
    return weights


def starting_weights(
    path: Path, scenario: str, spec: Mapping[str, RoleSpec], network: NetworkConfig
) -> dict[str, Mapping[str, Any]]:
    """The weights of trained policies for others to begin from, also in another scenario.

    Args:
        path: File or run directory.
        scenario: Name of the scenario to train on.
        spec: Its layout.
        network: Settings of the policies that are to begin from them.

    Raises:
        FabmeshError: If the file is no checkpoint, or its policies do not fit.
    """
    file = locate(path)
    content = read_whole(file)
    if content["kind"] not in OWN_KINDS:
        raise CheckpointError(f"{file}: a policy of {content['kind']}; only those of {' and '.join(OWN_KINDS)} go on")
    its_own, asked = vars(from_plain(content["config"]).network), vars(network)
    other = {name: its_own[name] for name in OF_WEIGHTS if its_own[name] != asked[name]}
    if other:
        raise ConfigError(f"{file}: its networks are of another kind; add {shlex.join(as_flags(other))}")
    weights = fitting_weights(content, file, scenario, spec, network)
    try:
        for role, layout in spec.items():
            RolePolicy(layout, network).load_state_dict(weights[role])
    except UNUSABLE as error:
        raise damaged(file, first_line(error)) from None
    return weights


def _names_there(content: Mapping[str, Any], role: str, here: RoleSpec) -> Names:
    """The names in the network of a checkpoint; one that keeps none is of the same layout, or cannot be moved."""
    there = content["signature"][role]
    if "names" in there:
        return Names.from_plain(there["names"])
    difference = _first_difference({role: there}, signature({role: here}))
    if difference is not None:
        raise transfer.DoesNotFitError(f"{difference.removeprefix(role).strip()}, and the file does not name its items")
    return Names.of(here)


def _agents(spec: Mapping[str, RoleSpec]) -> dict[str, int]:
    return {role: len(layout.agents) for role, layout in spec.items()}


def _difference(content: Mapping[str, Any], path: Path, spec: Mapping[str, RoleSpec]) -> str | None:
    """The first thing by which a checkpoint's policies do not fit a layout, in words."""
    try:
        difference = _first_difference(content["signature"], signature(spec))
    except UNUSABLE as error:
        raise damaged(path, f"its signature: {first_line(error)}") from None
    if difference is None and content["config"].get("agent_embedding") and content["agents"] != _agents(spec):
        return f"agents {content['agents']}, not {_agents(spec)}, and its policies know each agent by its number"
    return difference


def _unfit(content: Mapping[str, Any], path: Path, scenario: str, difference: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: trained on scenario {content['scenario']!r}, which does not fit {scenario!r}: {difference}; "
        f"use --scenario {content['scenario']}, or train on {scenario}"
    )


def _first_difference(there: Signature, here: Signature) -> str | None:
    if list(there) != list(here):
        return f"roles {', '.join(there)}, not {', '.join(here)}"
    for role in here:
        for kind in ("features", "components"):
            a, b = there[role][kind], here[role][kind]
            for (name, *size), (name_here, *size_here) in zip(a, b, strict=False):
                if name != name_here:
                    return f"{role} {kind} {name!r} where this scenario has {name_here!r}"
                if size != size_here:
                    shown = size if kind == "features" else [f"{len(size)} x {max(size)} levels"]
                    shown_here = size_here if kind == "features" else [f"{len(size_here)} x {max(size_here)} levels"]
                    return f"{role} {kind} {name!r} has size {shown[0]}, not {shown_here[0]}"
            if len(a) != len(b):
                return f"{role} has {len(a)} blocks of {kind}, not {len(b)}"
            for (name, *named), (_, *named_here) in zip(
                _names(there[role], kind), _names(here[role], kind), strict=False
            ):
                for one, other in zip(chain(*named), chain(*named_here), strict=True):
                    if one != other:
                        return f"{role} {kind} {name!r} names {one!r} where this scenario has {other!r}"
    return None


def _names(of_role: Mapping[str, Any], kind: str) -> list[list[Any]]:
    """Names of the blocks of a kind, none in a file that does not keep them."""
    return of_role["names"][kind] if "names" in of_role else []


def pack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays of any fixed dtype, flat records included, as tensors of bytes that `weights_only` loading accepts."""
    packed = {}
    for name, array in arrays.items():
        data = torch.from_numpy(np.frombuffer(copied(array).tobytes(), np.uint8).copy())
        packed[name] = {"dtype": _describe(array.dtype), "shape": list(array.shape), "bytes": data}
    return packed


def unpack(packed: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """What `pack` was given."""
    arrays = {}
    for name, item in packed.items():
        data = item["bytes"].numpy().tobytes()
        arrays[name] = np.frombuffer(data, dtype=_dtype(item["dtype"])).reshape(item["shape"]).copy()
    return arrays


def _describe(dtype: np.dtype[Any]) -> str | dict[str, Any]:
    """A dtype in plain values; of a record each field's type, shape and offset, so that padding is kept."""
    if dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names] if dtype.fields else []
    return {
        "names": list(dtype.names),
        "formats": [[field[0].base.str, list(field[0].shape)] for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
    }


def _dtype(described: str | dict[str, Any]) -> np.dtype[Any]:
    """What `_describe` was given."""
    if isinstance(described, str):
        return np.dtype(described)
    formats = [(kind, tuple(shape)) for kind, shape in described["formats"]]
    dtype: np.dtype[Any] = np.dtype(cast(Any, {**described, "formats": formats}))
    return dtype


def load_policy(path: Path, scenario: Scenario, sample: bool = False, name: str | None = None) -> Policy:
    """The policy of a run directory (its best checkpoint), of a checkpoint, or of a model saved by SB3 (.zip).

    One that was trained on another scenario is moved to this one (`transfer`), and the name it gets here says so.

    Args:
        path: Run directory, `.pt` file of this project, or `.zip` file of the `save` of PPO, A2C or MaskablePPO,
            trained through `fabmesh.envs.adapters.sb3`.
        scenario: The network it is to act in.
        sample: Draw the actions instead of taking the most likely ones.
        name: Name in tables; None: of the run directory, and of the file if it is not the best checkpoint.

    Raises:
        FabmeshError: If the file is no checkpoint or its policies do not fit the scenario.
    """
    from fabmesh.envs.vector import HubNetworkVector

    batch = HubNetworkVector(scenario, num_envs=1)
    spec = batch.spec
    batch.close()
    if path.suffix == ".zip":
        loaded: Policy = sb3_module(str(path)).load_zip(path, spec, sample)
        return loaded
    file = locate(path)
    content = read_whole(file)
    content["weights"] = fitting_weights(content, file, scenario.name, spec)
    if name is None:
        elsewhere = content["scenario"] != scenario.name
        name = _name_of(path) + (f", trained for {content['scenario']}" if elsewhere else "")
    try:
        return policy_from(content, spec, f"{name}:sample" if sample else name, sample)
    except UNUSABLE as error:
        raise damaged(file, first_line(error)) from None


def sb3_module(wanted_for: str) -> Any:
    """The part that needs Stable-Baselines3 and sb3-contrib, which are optional.

    Args:
        wanted_for: What needs it, for the message.

    Raises:
        ConfigError: If one of them is not installed.
    """
    try:
        return importlib.import_module("fabmesh.agents.learning.algorithms.sb3")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0].replace("_", "-")
        if missing not in ("stable-baselines3", "sb3-contrib"):
            raise
        raise ConfigError(f"{wanted_for}: needs {missing}; install it with pip install 'fabmesh[sb3]'") from None


def policy_from(content: Mapping[str, Any], spec: Mapping[str, RoleSpec], name: str, sample: bool) -> Policy:
    """The policy of a checkpoint's content, for a layout it fits."""
    config = from_plain(content["config"])
    if content["kind"] in SB3_ALGORITHMS:
        sb3 = sb3_module(name)
        policy: Policy = sb3.policy_from_weights(content["kind"], content["weights"], spec, config, name, sample)
        return policy
    return LearnedPolicy.from_weights(content["weights"], spec, config.network, name, sample)


def _name_of(path: Path) -> str:
    """Run directory's name, with the file's if it is not the best checkpoint."""
    run = path.resolve() if path.is_dir() else path.resolve().parent
    return run.name if path.is_dir() or path.name == BEST else f"{run.name}/{path.stem}"
