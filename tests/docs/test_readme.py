"""What the README tells a reader to type works, and what it links to exists."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import fabmesh

ROOT = Path(fabmesh.__file__).parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def help_of(script):
    done = subprocess.run([sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_blocks_run(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "snippet.py"
    script.write_text(blocks("python")[number])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(("command", "script"), [("fabmesh-train", "train.py"), ("fabmesh-evaluate", "evaluate.py")])
def test_flags_of_the_commands_exist(command, script):
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith(command)]
    assert lines
    known = help_of(script)
    for line in lines:
        for flag in re.findall(r"--[a-z][a-z-]*", line):
            assert re.search(rf"{flag}\b", known), f"{command} has no {flag}"


def test_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"`[^`]*`|^make .*$", README, re.M)))) <= set(
        targets
    )


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), f"README links to {target}, which does not exist"


def test_policies_of_the_table_exist():
    from fabmesh.agents.heuristics import NAMES

    assert set(re.findall(r"^\| `([a-z_]+)` \|", README, flags=re.MULTILINE)) == set(NAMES)


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_run(example, tmp_path):
    arguments = ["3000"] if example == "sb3_ppo.py" else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / example), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
