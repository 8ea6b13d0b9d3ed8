"""What `benchmarks.episode_signal` says of made-up episodes whose gradient is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.episode_signal import certainty

GROUPS, COPIES = 4_000, 16


@pytest.mark.parametrize("noise", [0.0, 1.0, 5.0])
def test_certainty_is_the_gradients_length_over_the_error_of_a_groups_estimate(noise):
    """Score = 2 x draw + noise; the mean of (score x draw) has the variance (2 x 2^2 + noise^2) / copies around 2."""
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((GROUPS, COPIES, 1))
    scores = 2.0 * draws[..., 0] + noise * rng.standard_normal((GROUPS, COPIES))
    assert certainty(scores, draws) == pytest.approx(2.0**2 / ((2 * 2.0**2 + noise**2) / COPIES), rel=0.15)


def test_there_is_no_certainty_where_draws_do_nothing():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((GROUPS, COPIES, 20))
    assert abs(certainty(rng.standard_normal((GROUPS, COPIES)), draws)) < 2e-3
