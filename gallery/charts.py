"""Coordinates of a page's charts; the templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oip.core.units import plural
from oip.gallery.escape import PageValues

_BINS = 24


@dataclass(frozen=True)
class Frame:
    """A plot of `wide` x `high` units with room for its labels, and the ranges of its axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    wide: float = 560.0
    high: float = 220.0
    left: float = 48.0
    right: float = 14.0
    top: float = 22.0
    bottom: float = 40.0

    def across(self, value: float) -> float:
        """Return the x coordinate of a value."""
        low, high = self.x
        share = (value - low) / ((high - low) or 1.0)
        return round(self.left + share * (self.wide - self.left - self.right), 1)

    def up(self, value: float) -> float:
        """Return the y coordinate of a value."""
        low, high = self.y
        share = (value - low) / ((high - low) or 1.0)
        return round(self.top + (1.0 - share) * (self.high - self.top - self.bottom), 1)

    @property
    def box(self) -> dict[str, float]:
        """Size and edges, for the template."""
        return {
            "wide": self.wide,
            "high": self.high,
            "left": self.left,
            "end": self.wide - self.right,
            "base": self.high - self.bottom,
            "top": self.top,
        }


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers from `low` to `high`.

    >>> ticks(0.0, 2.9)
    [0.0, 1.0, 2.0]
    """
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    rough = span / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next((size * factor for factor in (1, 2, 5) if size * factor >= rough), size * 10)
    begin = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(begin, last + 1)]


def distribution(
    values: Sequence[float], ceiling: float | None, noun: str = "map", unit: str = "bits"
) -> PageValues | None:
    """Return a histogram from 0 to the ceiling, or to the largest value without one.

    Args:
        values: of information, or of an order without it, which may be below 0; None without any.
        ceiling: in the same unit.
        noun: that of which each value is.
        unit: of the values, empty if they have none.
    """
    if not len(values):
        return None
    bits = np.asarray(values, np.float64)
    lowest = min(0.0, float(bits.min()))
    peak = max(float(bits.max()), ceiling or 0.0, lowest + 1e-3)
    counts, edges = np.histogram(bits, _BINS, (lowest, peak))
    highest_count = float(max(counts.max(), 1))
    frame = Frame((lowest, peak), (0.0, highest_count), wide=440.0, high=186.0, top=38.0)
    in_unit = f" {unit}" if unit else ""
    return {
        **frame.box,
        "unit": unit,
        "bars": [
            {
                "x": frame.across(low),
                "y": frame.up(int(count)),
                "width": round(frame.across(high) - frame.across(low) - 1.0, 1),
                "height": round(frame.up(0) - frame.up(int(count)), 1),
                "title": f"{low:z.2f} to {high:z.2f}{in_unit}: {count}",
            }
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
            if count
        ],
        "median": frame.across(float(np.median(bits))),
        "median_title": f"median {np.median(bits):z.2f}",
        "median_left": float(np.median(bits)) > (lowest + peak) / 2,
        "ceiling": None if ceiling is None else frame.across(ceiling),
        "x_ticks": _labeled(ticks(lowest, peak), frame.across),
        "y_ticks": _labeled([0.0, float(counts.max())], frame.up),
        "summary": (
            f"{plural(len(bits), noun)} from {bits.min():z.2f} to {bits.max():z.2f}{in_unit}, "
            f"median {np.median(bits):z.2f}"
            + ("" if ceiling is None else f", ceiling {ceiling:.2f}")
        ),
    }


def box_chart(
    groups: Sequence[tuple[str, Sequence[float] | np.ndarray]], unit: str = "bits"
) -> PageValues | None:
    """Return quartiles of groups of values side by side: box, median, whiskers from least to most.

    Args:
        groups: a label and its values, left to right; those without values keep their place.
        unit: of the values, empty if they have none.
    """
    in_unit = f" {unit}" if unit else ""
    finite = [np.asarray(values, np.float64) for _, values in groups]
    finite = [values[np.isfinite(values)] for values in finite]
    if not any(len(values) for values in finite):
        return None
    peak = max(float(values.max()) for values in finite if len(values))
    lowest = min(0.0, *(float(values.min()) for values in finite if len(values)))
    frame = Frame((0.0, float(len(groups))), (lowest, peak or 1.0), high=250.0, bottom=46.0)
    half = min(24.0, 0.3 * (frame.wide - frame.left - frame.right) / len(groups))
    label_step = -(-len(groups) // 14)
    boxes = []
    for index, ((label, _), values) in enumerate(zip(groups, finite, strict=True)):
        box: PageValues = {
            "x": frame.across(index + 0.5),
            "label": label if index % label_step == 0 else "",
            "values": None,
        }
        if len(values):
            low, first, median, third, high = np.percentile(values, [0, 25, 50, 75, 100]).tolist()
            quartiles = {"low": low, "first": first, "median": median, "third": third, "high": high}
            box["values"] = {name: frame.up(value) for name, value in quartiles.items()}
            box["title"] = (
                f"{label}: median {median:z.2f}{in_unit}, quartiles {first:z.2f} and {third:z.2f}, "
                f"from {low:z.2f} to {high:z.2f}, {len(values)} in all"
            )
        boxes.append(box)
    return {
        **frame.box,
        "unit": unit,
        "half": half,
        "boxes": boxes,
        "y_ticks": _labeled(ticks(lowest, peak), frame.up),
        "letters": max(4, int((frame.wide - 62) / len(groups) * label_step / 6.2)),
        "summary": "; ".join(box["title"] for box in boxes if box["values"])[:600],
    }


class _PlanePoint(NamedTuple):
    """A layer at one step of the training, in the information plane."""

    input_bits: float
    """I(X;T), drawn across."""
    label_bits: float
    """I(T;Y), drawn upwards."""
    step: int


def plane_chart(
    layers: Sequence[tuple[str, Sequence[float | None], Sequence[float | None]]],
    steps: Sequence[int],
    ceilings: tuple[float | None, float | None],
) -> PageValues | None:
    """Return the information plane: I(X;T) across, I(T;Y) up, a path a layer.

    Args:
        layers: name, I(X;T) at each step, I(T;Y) at each step; in bits, None where not known.
        ceilings: of I(X;T) and of I(T;Y), in bits.
    """
    paths: list[tuple[str, list[_PlanePoint]]] = []
    for name, inputs, labels in layers:
        points = [
            _PlanePoint(float(input_bits), float(label_bits), int(step))
            for input_bits, label_bits, step in zip(inputs, labels, steps, strict=True)
            if input_bits is not None and label_bits is not None
        ]
        if points:
            paths.append((name, points))
    if not paths:
        return None
    all_points = [point for _, points in paths for point in points]
    wide = max(*(point.input_bits for point in all_points), ceilings[0] or 0.0, 1e-3)
    high = max(*(point.label_bits for point in all_points), ceilings[1] or 0.0, 1e-3)
    frame = Frame((0.0, wide), (0.0, high * 1.04), high=340.0)
    last = max(point.step for point in all_points) or 1
    return {
        **frame.box,
        "paths": [
            {"name": name, "number": number, **_plane_path(name, points, frame, last)}
            for number, (name, points) in enumerate(paths, start=1)
        ],
        "ceilings": [
            None if ceilings[0] is None else frame.across(ceilings[0]),
            None if ceilings[1] is None else frame.up(ceilings[1]),
        ],
        "x_ticks": _labeled(ticks(0.0, wide), frame.across),
        "y_ticks": _labeled(ticks(0.0, high), frame.up),
        "last": last,
        "summary": f"{len(paths)} layers over {last} batches",
    }


def _plane_path(
    name: str, points: Sequence[_PlanePoint], frame: Frame, last_step: int
) -> PageValues:
    """Return the line of a layer, its points (darker at later steps), and its two ends."""
    positions = [(frame.across(point.input_bits), frame.up(point.label_bits)) for point in points]
    plane_points = [
        {
            "x": x,
            "y": y,
            "shade": round(0.15 + 0.85 * point.step / last_step, 2),
            "title": f"{name}, batch {point.step}: I(X;T) {point.input_bits:z.2f}, "
            f"I(T;Y) {point.label_bits:z.2f} bits",
        }
        for (x, y), point in zip(positions, points, strict=True)
    ]
    first, last = points[0], points[-1]
    return {
        "line": " ".join(f"{x},{y}" for x, y in positions),
        "points": plane_points,
        "from": f"{first.input_bits:z.2f}, {first.label_bits:z.2f}",
        "to": f"{last.input_bits:z.2f}, {last.label_bits:z.2f}",
    }


def _labeled(values: Sequence[float], coordinate: Callable[[float], float]) -> list[PageValues]:
    return [{"at": coordinate(value), "label": f"{value:zg}"} for value in values]
