"""Trains agents: `python train.py --scenario rotterdam --algo mappo --seed 1 --run-dir runs/a`; see `--help`."""

from __future__ import annotations

import sys

from fabmesh.agents.commands.train import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
