"""Checkpoints: plain tensors and numbers, written atomically, read without executing anything from the file.

`best.pt` holds the policies that cost least on the validation worlds, `last.pt` also what a resumed run needs.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from fabmesh.agents.learning.batch import RoleSpec
from fabmesh.agents.learning.config import TrainConfig
from fabmesh.agents.learning.learned import LearnedPolicy
from fabmesh.agents.learning.settings import as_plain, from_plain
from fabmesh.agents.policy import Policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.scenario import Scenario

FORMAT = 1
BEST, LAST = "best.pt", "last.pt"

Signature = dict[str, dict[str, list[list[Any]]]]


class CheckpointError(FabmeshError):
    """A checkpoint cannot be used, in one line."""


def signature(spec: Mapping[str, RoleSpec]) -> Signature:
    """What a policy's weights depend on: per role the blocks of features and of components, with their sizes."""
    return {
        role: {
            "features": [[block.name, block.count] for block in layout.features],
            "components": [
                [block.name, *layout.nvec[block.start : block.start + block.count].tolist()]
                for block in layout.components
            ],
        }
        for role, layout in spec.items()
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint so that the path always holds a whole one: to a file beside it, then in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": FORMAT, **content}, file)
        os.replace(temporary, path)  # noqa: PTH105  # the atomic call by its name
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file, or of the best one of a run directory."""
    if path.is_dir():
        found = next((path / name for name in (BEST, LAST) if (path / name).is_file()), None)
        if found is None:
            raise CheckpointError(
                f"{path}: no {BEST} or {LAST} in this directory; train there first (--run-dir {path})"
            )
        path = found
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint; give a run directory or a .pt file") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a checkpoint of this project ({reason})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of format {FORMAT}; train again with this version")
    return content


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
    there, here = content["signature"], signature(spec)
    difference = _first_difference(there, here)
    counts = {role: len(layout.agents) for role, layout in spec.items()}
    if difference is None and content["config"].get("agent_embedding") and content["agents"] != counts:
        difference = f"agents {content['agents']}, not {counts}, and its policies know each agent by its number"
    if difference is not None:
        raise CheckpointError(
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
    return None


def pack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays of any fixed dtype, flat records included, as tensors of bytes that `weights_only` loading accepts."""
    packed = {}
    for name, array in arrays.items():
        data = torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
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
    return np.dtype(cast(Any, {**described, "formats": formats}))


def load_policy(path: Path, scenario: Scenario, sample: bool = False) -> Policy:
    """The policy of a run directory (its best checkpoint), of a checkpoint, or of a model saved by SB3 (.zip).

    Args:
        path: Run directory, `.pt` file of this project, or `.zip` file of `stable_baselines3`'s `PPO.save`, trained
            through `fabmesh.envs.adapters.sb3`. A `.zip` is unpickled: open only your own.
        scenario: The network it is to act in.
        sample: Draw the actions instead of taking the most likely ones.

    Raises:
        FabmeshError: If the file is no checkpoint or its policies do not fit the scenario.
    """
    from fabmesh.envs.vector import HubNetworkVector

    batch = HubNetworkVector(scenario, num_envs=1)
    spec = batch.spec
    batch.close()
    if path.suffix == ".zip":
        from fabmesh.agents.learning.sb3 import load_zip

        return load_zip(path, spec, sample)
    content = read(path)
    require_fit(content, path, scenario.name, spec)
    return policy_from(content, spec, name=_name_of(path, sample), sample=sample)


def policy_from(content: Mapping[str, Any], spec: Mapping[str, RoleSpec], name: str, sample: bool) -> Policy:
    """The policy of a checkpoint's content, for a layout it fits."""
    config = from_plain(content["config"])
    if content["kind"] == "sb3_ppo":
        from fabmesh.agents.learning.sb3 import policy_from_weights

        return policy_from_weights(content["weights"], spec, config, name, sample)
    return LearnedPolicy.from_weights(content["weights"], spec, config.network, name, sample)


def _name_of(path: Path, sample: bool) -> str:
    """Run directory's name, with the file's if it is not the best checkpoint."""
    run = path.resolve() if path.is_dir() else path.resolve().parent
    name = run.name if path.is_dir() or path.name == BEST else f"{run.name}/{path.stem}"
    return f"{name}:sample" if sample else name
