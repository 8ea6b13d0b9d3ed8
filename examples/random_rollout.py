"""Plays one episode with random legal actions and prints where the money went: `python examples/random_rollout.py`."""

from fabmesh.envs import hub_network_v0


def main() -> None:
    """One episode of the pocket scenario."""
    env = hub_network_v0.parallel_env(scenario="pocket", render_mode="ansi")
    _, infos = env.reset(seed=7)
    cost = 0.0
    while env.agents:
        actions = {agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents}
        _, _, _, _, infos = env.step(actions)
        cost += infos["hub_0"]["cost"]  # the network's cost of the day: the same in every agent's info
    print(env.render())
    print(f"network cost {cost:,.0f} EUR, and {infos['hub_0']['settlement']:,.0f} EUR to settle what was open")


if __name__ == "__main__":
    main()
