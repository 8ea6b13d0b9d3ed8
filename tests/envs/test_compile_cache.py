"""Compiled functions on disk: a miss whatever the disk does, and nothing read that somebody else can have written."""

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from fabmesh.envs.network.compiler import cache as compile_cache
from fabmesh.envs.network.compiler.kernel import entry


def add_one(x):
    return x + 1


class Stranger:
    """Runs something when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise AssertionError('the code of a stranger ran')",)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where functions are kept that a test compiles: nothing yet."""
    monkeypatch.setenv("FABMESH_CACHE_DIR", str(tmp_path))
    yield from forgotten(monkeypatch)


def forgotten(monkeypatch):
    """A process that has not looked for its folder yet, nor said anything."""
    monkeypatch.setattr(compile_cache, "_said", [])
    compile_cache.cache_folder.cache_clear()
    yield compile_cache.cache_folder(entry(add_one)._cache._build())
    compile_cache.cache_folder.cache_clear()


def compiled():
    """The function as another process finds it, and whether it was kept."""
    function = entry(add_one)
    assert function(41) == 42
    return function, sum(function.stats.cache_hits.values()) == 1


def kept_file(folder):
    (file,) = folder.glob("*.nbc")
    return file


def only_warning(capsys):
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("warning: ")
    assert "FABMESH_CACHE_DIR" in said
    return said


def test_a_function_is_kept_and_found_again(folder, capsys):
    assert not compiled()[1]
    assert compiled()[1]
    assert capsys.readouterr().err == ""
    assert folder.stat().st_mode & 0o777 == 0o700
    assert kept_file(folder).stat().st_mode & 0o777 == 0o600


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda _: b"", cut, flipped, lambda _: b"no cache at all"], ids=range(4))
def test_a_damaged_file_is_made_anew(folder, capsys, damage):
    compiled()
    file = kept_file(folder)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert not compiled()[1]
    assert "damaged" in only_warning(capsys)
    assert compiled()[1]
    assert capsys.readouterr().err == ""


def to_another(path):
    os.chown(path, 12345, -1, follow_symlinks=False)


def linked(path):
    """The path becomes a link to what it was."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.parametrize("how", ["open to others", "a link", "another's"])
def test_what_a_stranger_can_have_written_is_not_read(tmp_path, folder, monkeypatch, capsys, place, how):
    if how == "another's" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    compiled()
    file = kept_file(folder)
    content = pickle.dumps(Stranger())
    file.write_bytes(hashlib.sha256(content).digest() + content)
    changed = {"file": file, "folder": folder}[place]
    {"open to others": lambda path: path.chmod(0o777), "a link": linked, "another's": to_another}[how](changed)
    compile_cache.cache_folder.cache_clear()

    assert not compiled()[1]
    assert str(changed) in only_warning(capsys)
    if place == "file":  # in a folder of the user's own, it is replaced
        assert compiled()[1]


def test_a_folder_that_is_not_the_users_is_replaced_by_one_that_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FABMESH_CACHE_DIR", str(tmp_path / "file"))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for folder in forgotten(monkeypatch):
        assert folder.parent == tmp_path
        assert f"-{os.geteuid()}-" in folder.name
        assert folder.stat().st_mode & 0o777 == 0o700
        assert str(folder) in only_warning(capsys)
        assert not compiled()[1]
        assert compiled()[1]


def test_without_any_folder_functions_stay_in_memory(tmp_path, monkeypatch, capsys):
    for name in ("FABMESH_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = tmp_path / f"fabmesh-{os.geteuid()}-{entry(add_one)._cache._build()}"
    place.mkdir()
    place.chmod(0o777)  # as a stranger would leave it for the user
    for folder in forgotten(monkeypatch):
        assert folder is None
        said = only_warning(capsys)
        assert "home directory" in said
        assert "in memory only" in said
        assert not compiled()[1]
        assert not compiled()[1]
        assert not list(place.iterdir())


def test_a_quota_is_a_miss(tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "import numpy; from fabmesh.envs.network.compiler.rng import next_seed; print(next_seed(numpy.uint64(1)) > 0)"
    )
    environment = os.environ | {"FABMESH_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.stdout == "True\n"
    assert done.stderr.count("\n") == 1
    assert "File too large; FABMESH_CACHE_DIR" in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_one_process_compiles_and_the_others_wait_until_it_is_done_or_dead(folder, capsys):
    compiled()
    file = kept_file(folder)
    file.unlink()
    code = (
        "import fcntl, sys, time\n"
        "held = open(sys.argv[1], 'w'); fcntl.flock(held, fcntl.LOCK_EX); print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, f"{file}.lock"], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        waiting = threading.Thread(target=compiled)
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        assert not file.exists()
        assert capsys.readouterr().err == "another process is compiling: waiting for it ...\n"
        other.kill()
        waiting.join(60)
    assert not waiting.is_alive()
    assert file.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "fabmesh.envs.testing pocket",
        "fabmesh.evaluate --scenario pocket --policies idle --episodes 2",
        "fabmesh.train --scenario pocket --total-steps 100 --run-dir run",
    ],
)
def test_a_compiler_that_is_switched_off_is_said_in_a_line(tmp_path, command):
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )
    assert done.returncode == 2
    *notices, said = done.stderr.splitlines()
    assert said.startswith("error: NUMBA_DISABLE_JIT is set")
    assert len(notices) <= 1  # training says that it loads
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_is_switched_off_is_said_to_a_program(monkeypatch):
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(ValueError, match="NUMBA_DISABLE_JIT is set"):
        entry(add_one)(1)
