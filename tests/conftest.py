"""What all tests share: threads, and the order in which tests run."""

import os

# Small networks and small batches: more threads cost more than they give, and tests should not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, so that what is broken shows early; otherwise in the order of the files."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
