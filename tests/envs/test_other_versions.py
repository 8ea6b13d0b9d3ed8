"""The oldest libraries that are allowed: what is not there yet is done without."""

import subprocess
import sys
import textwrap


def python(code):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_spaces_without_generic_classes():
    """Before Gymnasium 1.4 `MultiDiscrete` and `Box` cannot be subscribed."""
    code = """
        import gymnasium.spaces
        for space in (gymnasium.spaces.MultiDiscrete, gymnasium.spaces.Box):
            def refused(cls, item):
                raise TypeError(f"{cls} is not a generic class")
            space.__class_getitem__ = classmethod(refused)
        from fabmesh.envs import hub_network_v0
        env = hub_network_v0.parallel_env(scenario="pocket")
        print(env.action_space("hub_0").sample().shape == env.action_space("hub_0").shape)
    """
    assert python(code) == "True"


def test_pettingzoo_without_a_registry():
    """Before PettingZoo 1.27 there is no `pettingzoo.make`."""
    code = """
        import pettingzoo
        del pettingzoo.register, pettingzoo.make
        import fabmesh
        from fabmesh.envs import hub_network_v0
        print(hub_network_v0.env(scenario="pocket"))
    """
    assert python(code) == "hub_network_v0"
