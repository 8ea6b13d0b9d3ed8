"""fabmesh: a regional network of manufacturing hubs and material depots, as a multi-agent environment.

Importing the package registers the environment with PettingZoo:

    import pettingzoo, fabmesh
    env = pettingzoo.make("parallel", "fabmesh/hub_network_v0", scenario="pocket")
"""

from fabmesh.envs import registration

__version__ = "0.1.0"
__all__ = ["__version__", "registration"]
