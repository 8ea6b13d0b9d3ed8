"""What all tests share: threads, Hypothesis settings, and the order in which tests run."""

import os

# Small networks and small batches: more threads cost more than they give, and tests should not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

# The first example of a property may compile the simulation, which no deadline should count.
settings.register_profile("fabmesh", deadline=None)
settings.load_profile("fabmesh")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, so that what is broken shows early; otherwise in the order of the files."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
