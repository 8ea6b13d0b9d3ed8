"""What is written, wherever it goes: whole files, devices, pipes, links, and nothing of a user's lost on the way."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fabmesh import evaluate
from fabmesh.agents.evaluation.judge.comparison import compare_entries
from fabmesh.agents.evaluation.judge.entries import parse_entries
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.show.tensorboard import log_tensorboard
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, write_rows, write_text, write_whole
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.scenarios.orders import write_orders
from fabmesh.evaluate import main


def test_a_device_is_written_to_and_stays_one(tmp_path):
    null = tmp_path / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only a superuser makes devices")
    check_writable(null, "--csv")
    write_text(null, "x")
    assert stat.S_ISCHR(null.stat().st_mode)
    assert list(tmp_path.iterdir()) == [null]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    check_writable(pipe, "--csv")  # without opening it, which would be the end of it to the reader
    write_text(pipe, "a,b\n" * 50_000)
    reader.join()
    assert read == ["a,b\n" * 50_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_and_its_target_is_replaced_whole(tmp_path):
    (tmp_path / "shared").mkdir()
    target = tmp_path / "shared" / "r.csv"
    target.write_text("old")
    for name, to in (("link", target), ("relative", Path("shared/r.csv")), ("twice", Path("link"))):
        link = tmp_path / name
        link.symlink_to(to)
        check_writable(link, "--csv")
        before = target.stat().st_ino
        write_text(link, name)
        assert link.is_symlink()
        assert target.read_text() == name
        assert target.stat().st_ino != before  # moved there, not written over
    dangling = tmp_path / "dangling"
    dangling.symlink_to("new/file")
    check_writable(dangling, "--csv")
    write_text(dangling, "x")
    assert (tmp_path / "new" / "file").read_text() == "x"
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(FabmeshError, match=r"--csv .*loop: cannot be written \(Too many levels of symbolic links\)"):
        check_writable(loop, "--csv")


def test_directories_may_be_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "later").symlink_to("made")
    for name in ("link", "later"):
        check_writable(tmp_path / name, "--out", directory=True)
        write_text(tmp_path / name / "sub" / "a", name)
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "real" / "sub" / "a").read_text() == "link"
    assert (tmp_path / "made" / "sub" / "a").read_text() == "later"


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "stdout"])
@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="this system has no /dev/stdout")
def test_standard_output_is_written_to_where_it_stands(tmp_path, path):
    """Of a file, too, that the shell holds: it is neither replaced nor begun again."""
    (tmp_path / "stdout").symlink_to("/dev/stdout")
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from fabmesh.envs.files import *; path = Path(sys.argv[1])\n"
        "print('before'); check_writable(path, '--csv'); write_text(path, 'in between\\n'); print('after')"
    )
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", code, path], stdout=file, cwd=tmp_path, check=True)
    assert out.read_text() == "before\nin between\nafter\n"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "before\nin between\nafter\n"
    assert (tmp_path / "stdout").is_symlink()


def test_permissions_of_what_is_replaced_stay(tmp_path):
    path = tmp_path / "a"
    write_text(path, "1")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    for mode in (0o600, 0o664, 0o640):
        path.chmod(mode)
        write_text(path, "2")
        assert stat.S_IMODE(path.stat().st_mode) == mode
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
        write_text(path, "3")
        assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)


def test_a_file_that_is_protected_is_refused_and_not_replaced(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("a superuser may write everything")
    path = tmp_path / "a"
    path.write_text("mine")
    path.chmod(0o444)
    with pytest.raises(FabmeshError, match=r"--csv .*Permission denied"):
        check_writable(path, "--csv")
    assert path.read_text() == "mine"


def test_a_file_that_is_a_mount_is_written_in_its_place(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("a longer text than the next")

    def busy(self, target):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from fabmesh.envs.files import write_whole

def write(draft):
    draft.write_text("half")
    print("writing", flush=True)
    signal.pause()

write_whole(Path(sys.argv[1]), write)
"""


def test_what_a_killed_writer_leaves_is_swept_by_the_next_and_a_living_one_keeps_its_own(tmp_path):
    path = tmp_path / "last.pt"
    path.write_text("before")
    mine = tmp_path / ".writing-notes"
    mine.write_text("a user's own")
    writers = [
        subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [writer.stdout.readline() for writer in writers] == ["writing\n"] * 2
    killed, living = writers
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(list(tmp_path.glob(".writing-*"))) == 3
    assert path.read_text() == "before"
    write_text(tmp_path / "other", "x")
    assert len(list(tmp_path.glob(".writing-*"))) == 2
    living.send_signal(signal.SIGKILL)
    living.wait()
    write_text(path, "after")
    assert sorted(found.name for found in tmp_path.iterdir()) == [".writing-notes", "last.pt", "other"]
    assert mine.read_text() == "a user's own"


def test_many_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path, wrong = tmp_path / "a", []

    def write(text):
        try:
            for _ in range(50):
                write_whole(path, lambda draft: (draft.write_text(text), time.sleep(0.0005)))
        except FabmeshError as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert path.read_text() in "abcd"
    assert list(tmp_path.iterdir()) == [path]


def test_texts_are_no_formulas_to_a_spreadsheet_and_numbers_stay_numbers(tmp_path):
    texts = ["=cmd()", "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\uff1d1", "'=1", "'s-Hertogenbosch", "a=b"]
    numbers = [-1.5, 3, 1e-300, -(2**63)]
    write_rows(tmp_path / "a.csv", [texts, numbers, [None, "-5", "-5 to -1", "1e-3"]])
    with (tmp_path / "a.csv").open(newline="") as file:
        first, second, third = csv.reader(file)
    assert first == [f"'{text}" for text in texts[:7]] + ["'s-Hertogenbosch", "a=b"]
    assert [float(cell) for cell in second] == numbers
    assert third == ["", "-5", "-5 to -1", "1e-3"]


def test_what_cannot_be_written_costs_nothing_else(capsys, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    given = ["--scenario", "pocket", "--policies", "idle", "--seeds", "train", "--episodes", "2", "--quiet"]
    assert main([*given, "--out", str(tmp_path), "--csv", "/dev/full"]) == 2
    out, err = capsys.readouterr()
    assert "idle" in out
    assert err.splitlines()[-1] == "error: /dev/full: cannot be written (No space left on device)"
    names = {"results.json", "table.md", "marl_eval.json", "figures", "tensorboard"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_two_outputs_may_go_to_one_device(capsys, tmp_path):
    given = ["--scenario", "pocket", "--policies", "idle", "--seeds", "train", "--episodes", "2", "--quiet"]
    assert main([*given, "--csv", os.devnull, "--json", os.devnull]) == 0
    assert "written: /dev/null, /dev/null" in capsys.readouterr().out
    assert not Path(os.devnull).is_file()


def test_logs_of_a_training_survive_a_comparison_logged_beside_them(tmp_path, comparison):
    run = tmp_path / comparison.rows[0].name
    run.mkdir()
    (run / "events.out.tfevents.1.mine").write_text("a training's")
    for _ in range(2):
        log_tensorboard(comparison, tmp_path, {})
    assert (run / "events.out.tfevents.1.mine").read_text() == "a training's"
    assert len(list(run.iterdir())) == 2  # the second comparison stands in place of the first


@pytest.fixture(scope="module")
def comparison():
    return compare_entries(parse_entries(["idle"]), load_scenario("pocket"), seed_set("train", 2), quiet=True)


def test_orders_that_changed_after_they_were_read_make_no_manifest(tmp_path, capsys, monkeypatch):
    book = tmp_path / "book.csv"
    write_orders(load_scenario("pocket"), 1, book)
    compare = evaluate.compare_entries

    def compare_while_it_changes(*given):
        found = compare(*given)
        book.write_text(book.read_text() + "\n")
        return found

    monkeypatch.setattr(evaluate, "compare_entries", compare_while_it_changes)
    given = ["--scenario", "pocket", "--policies", "idle", "--seeds", "train", "--episodes", "1", "--quiet"]
    assert main([*given, "--orders", str(book), "--out", str(tmp_path / "o")]) == 2
    out, err = capsys.readouterr()
    assert "idle" in out
    assert "has changed since it was read" in err.splitlines()[-1]
    assert (tmp_path / "o" / "results.json").exists()
    assert not (tmp_path / "o" / "manifest.json").exists()
    assert json.loads((tmp_path / "o" / "results.json").read_text())["scenario"] == "pocket"
