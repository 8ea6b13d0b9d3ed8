"""Sizes of the compiled tables that a scenario must fit in."""

from __future__ import annotations

MAX_STAGES = 3
MAX_BOM = 4
INBOUND_DAYS = 4  # ring of days under way to a hub: at most 3 ahead
MOST_DAYS = 5_000  # of an episode
MOST_DUE_D = 1_000  # working days from announcement to due day; with an episode's days still a number of 16 bits
MOST_ENTRIES = 2_000  # of a list: towns, hubs, products, levels of an action
MOST_UNITS = 32_767  # of one order: the order books count in 16 bits
