"""What every benchmark says of the machine it ran on, and how it keeps its figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fabmesh.envs.commands import say
from fabmesh.envs.files import write_text


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """Processor, cores, load and the versions of the packages that are installed."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: found for package in packages if (found := _version(package)) is not None},
    }


def print_machine(found: dict[str, Any]) -> None:
    """Two lines above the figures."""
    print(f"{found['processor']}, {found['cores']} cores, load {found['load_average']:.1f}, Python {found['python']}")
    print(", ".join(f"{package} {number}" for package, number in found["versions"].items()))


def write_report(path: Path | None, report: dict[str, Any]) -> None:
    """The figures as JSON, if a file was asked for."""
    if path is None:
        return
    write_text(path, json.dumps(report, indent=2) + "\n")
    say(f"written to {path}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
