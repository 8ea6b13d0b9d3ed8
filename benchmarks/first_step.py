"""How long a fresh process takes to its first step; prints one JSON object. Run by `env_throughput` in a subprocess."""

from __future__ import annotations

import json
import sys
import time


def main(scenario: str) -> None:
    """Times the import, the construction with the first reset, and the first step of one network."""
    started = time.perf_counter()
    from fabmesh.envs import hub_network_v0

    imported = time.perf_counter()
    env = hub_network_v0.parallel_env(scenario=scenario)
    _, infos = env.reset(seed=1)
    ready = time.perf_counter()
    env.step({agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents})
    stepped = time.perf_counter()
    print(
        json.dumps(
            {
                "import_s": imported - started,
                "construct_and_reset_s": ready - imported,
                "first_step_s": stepped - ready,
                "total_s": stepped - started,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
