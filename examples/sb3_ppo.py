"""Trains Stable-Baselines3's PPO on sixteen copies of the pocket scenario: `python examples/sb3_ppo.py [steps]`.

Every agent of every copy is one environment of the `VecEnv`; hubs and depots share one policy, which is told the role.
Rewards are divided by the running deviation of their discounted sum. `fabmesh-train --algo sb3_ppo` does the same with
validation, checkpoints and TensorBoard; `sb3_a2c` and `sb3_maskable_ppo` are the others it knows.
"""

import sys

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv
from fabmesh.envs.vector import HubNetworkVector


def main(steps: int = 50_000) -> None:
    """Trains for a number of agent-steps and prints what SB3 logs."""
    environment = VecNormalize(HubNetworkVecEnv(HubNetworkVector("pocket", num_envs=16)), norm_obs=False)
    model = PPO("MlpPolicy", environment, n_steps=60, batch_size=720, seed=1, verbose=1, device="cpu")
    model.learn(total_timesteps=steps)
    environment.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
