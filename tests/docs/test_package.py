"""The package as it is installed: what is in it, what it is called, and which way its imports go."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import fabmesh

ROOT = Path(fabmesh.__file__).parent
PACKAGE_FOLDERS = ("agents", "configs", "envs")
PROBE = "configs/checkpoints/probe.pt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def package_sources():
    """Every source file that belongs to the package, by its path below the root."""
    inside = [path for folder in PACKAGE_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in [*inside, *ROOT.glob("*.py")])


def imports_of(path):
    """Names of the modules a source file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The files of the wheel, built from a copy so that nothing built before gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignore)
    (source / PROBE).parent.mkdir(exist_ok=True)
    (source / PROBE).write_bytes(b"weights")  # whatever is shipped at present
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
    ]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    package = {name for name in wheel if not name.split("/")[0].endswith(".dist-info")}
    expected = {f"fabmesh/{path.as_posix()}" for path in package_sources()}
    expected |= {f"fabmesh/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    expected |= {f"fabmesh/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.pt")}
    expected |= {"fabmesh/py.typed", f"fabmesh/{PROBE}"}
    assert package == expected
    assert any(name.startswith("fabmesh/configs/scenarios/") for name in package)


def test_nothing_is_installed_under_a_common_name(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {"fabmesh", f"fabmesh-{fabmesh.__version__}.dist-info"}


def test_the_commands_exist(wheel):
    (entry_points,) = (text.decode() for name, text in wheel.items() if name.endswith("entry_points.txt"))
    assert "fabmesh-train = fabmesh.train:main" in entry_points
    assert "fabmesh-evaluate = fabmesh.evaluate:main" in entry_points


def test_every_package_is_listed():
    folders = {path.parent for path in package_sources()}
    found = {".".join(("fabmesh", *folder.parts)) for folder in folders}
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])
    for folder in folders:
        assert (ROOT / folder / "__init__.py").exists(), f"{folder} has no __init__.py"


def test_one_version():
    assert version("fabmesh") == fabmesh.__version__
    assert f"version: {fabmesh.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_torch_is_bounded():
    assert "torch>=2.6,<2.14" in PROJECT["project"]["dependencies"]
    assert metadata("fabmesh")["License-Expression"] == "MIT"


def test_constraints_name_every_requirement():
    """A tested version of whatever is asked for."""
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = [*PROJECT["project"]["dependencies"]]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        wanted += extra
    names = {requirement.split(">=")[0].split("[")[0].strip().lower() for requirement in wanted} - {"fabmesh"}
    assert names <= pinned


def test_rooms_import_downwards_and_in_no_circle(monkeypatch):
    """The layers of pyproject.toml, as `make imports` checks them."""
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


@pytest.mark.parametrize("path", package_sources(), ids=str)
def test_imports_go_down(path):
    """Command lines use agents, agents use envs, the core of envs uses nothing above it."""
    own = {name for name in imports_of(path) if name.split(".")[0] == "fabmesh"}
    stray = {
        name for name in imports_of(path) if name.split(".")[0] in {"envs", "agents", "configs", "tests", "benchmarks"}
    }
    assert not stray, "say fabmesh.envs, fabmesh.agents"
    if path.parts[0] == "envs":
        above = ("fabmesh.agents", "fabmesh.train", "fabmesh.evaluate")
        assert not {name for name in own if name.startswith(above)}
    if path.parts[0] == "agents":
        assert not {name for name in own if name.startswith(("fabmesh.train", "fabmesh.evaluate"))}
    if path.parts[:2] == ("envs", "network"):
        views = (
            "fabmesh.envs.hub_network_v0",
            "fabmesh.envs.vector",
            "fabmesh.envs.adapters",
            "fabmesh.envs.rendering",
        )
        assert not {name for name in own if name.startswith(views)}


def test_the_simulation_needs_no_learning_library():
    """Neither torch nor matplotlib is loaded by stepping a network."""
    code = (
        "import sys; from fabmesh.envs import hub_network_v0, vector; "
        "print([m for m in ('torch', 'matplotlib', 'stable_baselines3') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd="/"
    )
    assert done.stdout.strip() == "[]"


def test_importing_the_package_is_light():
    """`import fabmesh` registers the environment without loading the compiler."""
    code = (
        "import sys, fabmesh, pettingzoo; "
        "print('numba' in sys.modules, 'fabmesh/hub_network-v0' in pettingzoo.parallel_registry)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd="/"
    )
    assert done.stdout.split() == ["False", "True"]


def test_py_typed_and_licence(wheel):
    assert "fabmesh/py.typed" in wheel
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
