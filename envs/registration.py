"""Registers the environment with PettingZoo, which has a registry from 1.27 on; imported once by `fabmesh` itself.

The entry points are strings, so that `import fabmesh` loads neither the simulation nor its compiler.
"""

from __future__ import annotations

import pettingzoo

ENVIRONMENT_ID = "fabmesh/hub_network_v0"

if hasattr(pettingzoo, "register"):
    pettingzoo.register("parallel", ENVIRONMENT_ID, "fabmesh.envs.hub_network_v0:parallel_env")
    pettingzoo.register("aec", ENVIRONMENT_ID, "fabmesh.envs.hub_network_v0:env")
