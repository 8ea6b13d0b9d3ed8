"""A batch beside threads, forks and interrupts: one caller at a time, the same in a child, no thread left at work."""

import copy
import os
import pickle
import signal
import threading

import numpy as np
import pytest

from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import _COPIES_AT_ONCE, HubNetworkVector


def begun(copies, threads):
    """A batch on its first day, and legal actions for it."""
    batch = HubNetworkVector("pocket", num_envs=copies, threads=threads)
    _, info = batch.reset(seed=1)
    return batch, random_actions(batch, info["action_mask"], np.random.default_rng(0))


def stepped(batch, actions):
    """All that a step shows, as bytes."""
    observed, reward, _, _, info = batch.step(actions)
    return b"".join(part.tobytes() for part in (*observed.values(), *reward.values(), batch.state(), info["cost"]))


def in_a_child(function):
    """What a function returns in a forked child, as bytes; a child that hangs is ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.write(writing, function())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return content


def hold(batch, held, over):
    """Lets the batch wait inside its next step: sets the first event when it is there, goes on at the second."""
    run = batch._run

    def waiting(*args):
        held.set()
        over.wait(60)
        run(*args)

    batch._run = waiting
    return run


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_steps_the_same_worlds(threads):
    batch, actions = begun(4, threads)
    stepped(batch, actions)  # the threads have been at work
    in_child = in_a_child(lambda: stepped(batch, actions))
    assert len(in_child) > 0
    assert in_child == stepped(batch, actions)


def test_a_child_forked_while_a_thread_is_in_the_batch_can_use_it():
    batch, actions = begun(4, 2)
    held, over = threading.Event(), threading.Event()
    run = hold(batch, held, over)
    other = threading.Thread(target=batch.step, args=(actions,))
    other.start()
    held.wait()

    def again():
        batch._run = run
        batch.reset(seed=5)
        return stepped(batch, actions)

    in_child = in_a_child(again)
    over.set()
    other.join()
    batch.reset(seed=5)
    assert in_child == stepped(batch, actions)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_second_thread_is_refused_in_a_line(threads):
    batch, actions = begun(4, threads)
    held, over = threading.Event(), threading.Event()
    hold(batch, held, over)
    first = threading.Thread(target=batch.step, args=(actions,))
    first.start()
    held.wait()
    for use in (
        lambda: batch.step(actions),
        lambda: batch.reset(seed=1),
        batch.save_state,
        lambda: batch.load_state({}),
    ):
        with pytest.raises(RuntimeError, match=r"^another thread is in this batch: .*\Z"):
            use()
    over.set()
    first.join()
    assert batch.day.tolist() == [1] * 4
    batch.step(actions)  # one after the other is no harm
    assert batch.day.tolist() == [2] * 4


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda batch: pickle.loads(pickle.dumps(batch))], ids=["copy", "pickle"]
)
def test_a_copy_is_used_beside_the_original(how):
    batch, actions = begun(4, 2)
    other = how(batch)
    held, over = threading.Event(), threading.Event()
    hold(batch, held, over)
    first = threading.Thread(target=batch.step, args=(actions,))
    first.start()
    held.wait()
    other.step(actions)
    over.set()
    first.join()
    assert np.array_equal(batch.state(), other.state())


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_arrives_between_copies_and_leaves_no_thread_at_work(threads):
    copies = 2 * threads * _COPIES_AT_ONCE
    batch, actions = begun(copies, threads)
    run = batch._run
    calls = []

    def interrupted(*args):
        calls.append(args)
        if threading.current_thread() is threading.main_thread():
            os.kill(os.getpid(), signal.SIGINT)
        run(*args)

    batch._run = interrupted
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            batch.step(actions)
    finally:
        signal.signal(signal.SIGINT, before)
    first = batch._bounds[1]
    assert sum(call[len(batch._handles)] < first for call in calls) == 1  # of two, on the caller's thread
    count = len(calls)
    batch._run = run
    with pytest.raises(RuntimeError, match="call reset"):
        batch.step(actions)
    assert len(calls) == count
    fresh, _ = begun(copies, threads)
    batch.reset(seed=1)
    assert stepped(batch, actions) == stepped(fresh, actions)
