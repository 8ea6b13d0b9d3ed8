"""Learners: networks, rollouts, MAPPO and IPPO, imitation, checkpoints."""
