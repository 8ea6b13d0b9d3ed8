"""The network as a picture: its map with every node's load and stock, and what the day cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import cos, log10, radians, sqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray

from fabmesh.envs.names import in_figure
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.rendering.reading import HubNode, Node, Reading

WIDTH, HEIGHT = 1000, 640  # px
_DPI = 100
_KM_PER_DEGREE = 111.2
_LOW_COVER_D = 2.0  # days; below this a material's bar is drawn as low
_FULL_COVER_D = 30.0  # days; a bar of full height
_INK, _FAINT, _TOWN, _DEPOT = "#22303c", "#8a97a3", "#e3e9ee", "#6b4e9b"
_STOCK, _LOW = "#4c86b8", "#c8402f"
# The busiest technology of a hub, idle to beyond five days' capacity: pale to dark, so that it reads in grey too.
_LOAD_COLOURS = LinearSegmentedColormap.from_list("load", ["#fff3c4", "#f6a13c", "#a8281f"])
_LOAD_RANGE = Normalize(0.0, 1.25, clip=True)
_CARD_PX = (150.0, 54.0)  # width and height of a node's card
_BARS_PX = 20.0  # height of a full bar


@dataclass
class _Card:
    """What changes at one node from day to day."""

    marker: Line2D
    ring: Line2D
    bars: list[Rectangle]
    note: Text


@dataclass(frozen=True)
class _Projection:
    """Plate carree around the middle of a region: good to a pixel at the size of a country."""

    middle: tuple[float, float]  # latitude, longitude
    shrink: float  # cosine of the middle latitude
    px_per_km: float
    centre_px: tuple[float, float]

    def __call__(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Pixels of a place."""
        per_degree = _KM_PER_DEGREE * self.px_per_km
        x = self.centre_px[0] + (longitude - self.middle[1]) * self.shrink * per_degree
        y = self.centre_px[1] + (latitude - self.middle[0]) * per_degree
        return x, y


class NetworkMap:
    """Draws one network day after day; the figure is made once and brought up to date.

    Args:
        scenario: The network.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        # An axes in pixels under everything, so that cards keep their size whatever the region's.
        self._sheet = self._figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self._sheet.set_axis_off()
        self._title = self._sheet.text(18, HEIGHT - 30, "", size=12, color=_INK, weight="bold")
        self._total = self._sheet.text(18, HEIGHT - 50, "", size=9.5, color=_INK)
        self._cards = self._draw_map(scenario)
        self._costs = _panel(self._figure, (0.765, 0.43, 0.17, 0.47), "network cost of the last day, EUR")
        self._cost_bars: list[tuple[Rectangle, Text]] = []
        self._days = _panel(self._figure, (0.715, 0.10, 0.265, 0.23), "network cost, 1,000 EUR a day")
        self._days.set_xlim(1, max(2, scenario.episode_d))
        self._days.set_xlabel("day of the episode", size=8, color=_INK)
        (self._line,) = self._days.plot([], [], color=_INK, linewidth=1.1)
        self._history: list[tuple[int, float]] = []

    def draw(self, reading: Reading) -> NDArray[np.uint8]:
        """The picture of today.

        Returns:
            uint8[HEIGHT, WIDTH, 3].
        """
        self._title.set_text(f"{in_figure(reading.scenario)}, day {reading.day} of {reading.days}")
        self._total.set_text(f"world {reading.world}: {reading.total_eur:,.0f} EUR so far")
        largest_flow = max((node.sent_day_eur for node in (*reading.hubs, *reading.depots)), default=0.0)
        for node in (*reading.hubs, *reading.depots):
            _update_card(self._cards[node.agent], node, largest_flow)
        self._update_costs(reading)
        self._update_days(reading)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[:, :, :3].copy()

    def close(self) -> None:
        """Releases the figure."""
        self._figure.clear()

    def _draw_map(self, scenario: Scenario) -> dict[str, _Card]:
        """Towns, hubs and depots where they are; a card beside each node where it covers least."""
        places = [(town.latitude, town.longitude) for town in scenario.towns]
        places += [(depot.latitude, depot.longitude) for depot in scenario.depots]
        to_px, px_per_km = _projection(places, left=95, right=WIDTH * 0.68 - 95, bottom=75, top=HEIGHT - 110)
        at = {town.name: to_px(town.latitude, town.longitude) for town in scenario.towns}
        largest = max(town.population for town in scenario.towns)
        for town in scenario.towns:
            size = 8 + 62 * sqrt(town.population / largest)
            self._sheet.plot(*at[town.name], "o", markersize=size, color=_TOWN, markeredgewidth=0, zorder=1)
        self._draw_scale(px_per_km)

        nodes = [(f"hub_{i}", hub.town, at[hub.town], "s") for i, hub in enumerate(scenario.hubs)]
        nodes += [
            (f"depot_{j}", depot.name, to_px(depot.latitude, depot.longitude), "D")
            for j, depot in enumerate(scenario.depots)
        ]
        taken = [(x - 12, y - 12, x + 12, y + 12) for _, _, (x, y), _ in nodes]
        cards = {}
        for agent, place, (x, y), shape in nodes:
            box = _free_place(x, y, taken)
            taken.append(box)
            cards[agent] = self._draw_card(agent, place, (x, y), shape, box, len(scenario.materials))
        hub_towns = {hub.town for hub in scenario.hubs}
        for town in scenario.towns:
            if town.name not in hub_towns:
                x, y = at[town.name]
                self._sheet.text(x, y, in_figure(town.name), size=7, color=_FAINT, ha="center", va="center", zorder=2)
        return cards

    def _draw_card(
        self,
        agent: str,
        place: str,
        at: tuple[float, float],
        shape: str,
        box: tuple[float, float, float, float],
        materials: int,
    ) -> _Card:
        left, bottom, right, top = box
        x, y = at
        colour = _INK if shape == "s" else _DEPOT
        corner = (min(max(x, left), right), min(max(y, bottom), top))
        self._sheet.plot([x, corner[0]], [y, corner[1]], color=_FAINT, linewidth=0.6, zorder=3)
        self._sheet.add_patch(
            Rectangle(
                (left, bottom), right - left, top - bottom, facecolor="white", alpha=0.86, edgecolor=_FAINT, lw=0.5
            )
        ).set_zorder(3)
        (ring,) = self._sheet.plot(x, y, "o", markerfacecolor="none", markeredgecolor=colour, markersize=0, zorder=4)
        ring.set_alpha(0.45)
        (marker,) = self._sheet.plot(
            x, y, shape, markersize=12, markeredgecolor=colour, markerfacecolor="white", zorder=5
        )
        marker.set_markeredgewidth(1.4)
        words = in_figure(f"{agent}  {place}"[:26])
        self._sheet.text(left + 4, top - 11, words, size=7, color=colour, weight="bold", zorder=6)
        note = self._sheet.text(left + 4, top - 22, "", size=6.3, color=_INK, zorder=6)
        step = (right - left - 8) / materials
        bars = [
            Rectangle((left + 4 + i * step, bottom + 4), 0.8 * step, 0.0, linewidth=0, zorder=6)
            for i in range(materials)
        ]
        for bar in bars:
            self._sheet.add_patch(bar)
        self._sheet.plot([left + 4, right - 4], [bottom + 4] * 2, color=_FAINT, linewidth=0.5, zorder=6)
        return _Card(marker, ring, bars, note)

    def _draw_scale(self, px_per_km: float) -> None:
        """A scale bar of a round length, and what the signs mean."""
        target_km = 110 / px_per_km
        magnitude = 10 ** int(np.floor(log10(target_km)))
        km = max(step * magnitude for step in (1, 2, 5) if step * magnitude <= target_km)
        self._sheet.plot([18, 18 + km * px_per_km], [22, 22], color=_INK, linewidth=1.5)
        self._sheet.text(18, 27, f"{km:g} km", size=7.5, color=_INK)
        for index, (colour, text) in enumerate(
            [
                (_LOAD_COLOURS(0.9), "square: hub, darker = busiest machines fuller"),
                (_DEPOT, "diamond: depot; ring: freight of the day"),
                (_STOCK, f"bars: days of cover per material, full = {_FULL_COVER_D:.0f}"),
                (_LOW, f"red bar: less than {_LOW_COVER_D:.0f} days"),
            ]
        ):
            x, y = 175 + 260 * (index % 2), 28 - 15 * (index // 2)
            self._sheet.add_patch(Rectangle((x, y), 8, 8, facecolor=colour, linewidth=0))
            self._sheet.text(x + 13, y, text, size=7.5, color=_INK)

    def _update_costs(self, reading: Reading) -> None:
        """One bar per line of the ledger; a line that was never posted stays away from the eye as a thin zero."""
        if not self._cost_bars:
            names = [line.replace("_", " ") for line in reading.cost_day]
            self._costs.set_yticks(range(len(names)), names, size=7.5, color=_INK)
            self._costs.set_ylim(len(names) - 0.4, -0.6)
            self._costs.set_xticks([])
            self._costs.axvline(0, color=_FAINT, linewidth=0.6)
            for row in range(len(names)):
                bar = Rectangle((0, row - 0.36), 0, 0.72, facecolor=_STOCK)
                self._costs.add_patch(bar)
                self._cost_bars.append((bar, self._costs.text(0, row, "", size=7, color=_INK, va="center")))
        values = list(reading.cost_day.values())
        low, high = min(0.0, *values), max(1.0, *values)
        self._costs.set_xlim(low * 1.1, high + 0.35 * (high - low))
        for (bar, label), value in zip(self._cost_bars, values, strict=True):
            bar.set_width(value)
            label.set_x(max(value, 0.0) + 0.02 * (high - low))
            label.set_text(f"{value:,.0f}")

    def _update_days(self, reading: Reading) -> None:
        if self._history and reading.day <= self._history[-1][0]:
            self._history = [past for past in self._history if past[0] < reading.day]
        self._history.append((reading.day, reading.total_day_eur / 1000.0))
        posted = [past for past in self._history if past[0] > 0]
        self._line.set_data([day for day, _ in posted], [cost for _, cost in posted])
        costs = [cost for _, cost in posted] or [1.0]
        self._days.set_ylim(min(0.0, *costs), 1.1 * max(0.001, *costs))


def _update_card(card: _Card, node: Node, largest_flow: float) -> None:
    dead = f"  dead {node.deadstock_eur:,.0f} EUR" if node.deadstock_eur >= 0.5 else ""
    if isinstance(node, HubNode):
        load = max((load for load in node.load.values() if load is not None), default=0.0)
        card.marker.set_markerfacecolor(_LOAD_COLOURS(_LOAD_RANGE(load)) if node.up else "white")
        card.note.set_text(f"load {100 * load:.0f} %{dead}" if node.up else f"DOWN{dead}")
        card.note.set_color(_INK if node.up else _LOW)
    else:
        card.note.set_text(dead.strip())
    card.ring.set_markersize(14 + 26 * sqrt(node.sent_day_eur / largest_flow) if node.sent_day_eur > 0 else 0)
    for bar, cover in zip(card.bars, node.on_hand_d.values(), strict=True):
        bar.set_height(_BARS_PX * min(cover, _FULL_COVER_D) / _FULL_COVER_D + 0.8)
        bar.set_facecolor(_LOW if cover < _LOW_COVER_D else _STOCK)


def _panel(figure: Figure, at: tuple[float, float, float, float], title: str) -> Axes:
    axes = figure.add_axes(at)
    axes.set_title(title, size=9, color=_INK, loc="left")
    axes.tick_params(labelsize=7.5, colors=_INK, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _projection(
    places: list[tuple[float, float]], *, left: float, right: float, bottom: float, top: float
) -> tuple[_Projection, float]:
    """Degrees to pixels, east-west shrunk at the region's latitude, as large as fits; and the scale in px/km."""
    latitudes, longitudes = zip(*places, strict=True)
    middle = (min(latitudes) + max(latitudes)) / 2, (min(longitudes) + max(longitudes)) / 2
    shrink = cos(radians(middle[0]))
    height_km = max(1.0, (max(latitudes) - min(latitudes)) * _KM_PER_DEGREE)
    width_km = max(1.0, (max(longitudes) - min(longitudes)) * _KM_PER_DEGREE * shrink)
    scale = min((right - left) / width_km, (top - bottom) / height_km)
    return _Projection(middle, shrink, scale, ((left + right) / 2, (bottom + top) / 2)), scale


def _free_place(
    x: float, y: float, taken: list[tuple[float, float, float, float]]
) -> tuple[float, float, float, float]:
    """The box beside a node that covers least of what is there and of what lies outside the map."""
    width, height = _CARD_PX
    best, least = (x, y, x + width, y + height), float("inf")
    for dx, dy in product((18.0, -width / 2, -18.0 - width), (18.0, -height / 2, -18.0 - height)):
        if dx == -width / 2 and dy == -height / 2:
            continue
        box = (x + dx, y + dy, x + dx + width, y + dy + height)
        outside = max(0.0, 8 - box[0]) + max(0.0, box[2] - 0.68 * WIDTH) + max(0.0, 52 - box[1])
        outside += max(0.0, box[3] - (HEIGHT - 60))
        covered = 1000.0 * outside + sum(_overlap(box, other) for other in taken)
        if covered < least:
            best, least = box, covered
    return best


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Common area of two boxes (left, bottom, right, top)."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
