"""Images that are shown beside a pattern: plain examples, and those that the network confuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mi.class_images import ClassImages

EXAMPLES = 3
"""Plain examples of a class."""
HARD = 3
"""Hard cases of a class, at the most."""
_SURE = 0.9
"""From this probability of its own class on an image is no hard case."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Images with the responses of a layer to them; k of them."""

    places: np.ndarray
    """(k,) int: their places in what was given."""
    labels: np.ndarray
    """(k,) str: names of their classes."""
    hard: np.ndarray
    """(k,) bool: a hard case: the network takes it for another class, or nearly does."""
    predicted: np.ndarray
    """(k,) str: name of the class that the network takes it for; empty where it has no say."""
    own: np.ndarray
    """(k,): the network's probability of the image's own class; NaN where it has no say."""
    images: np.ndarray = field(repr=False)
    """(k, h, w, b): as the model is fed with them."""
    values: np.ndarray = field(repr=False)
    """(k, m, *nodes) float32: responses, the maps in the order of the result."""
    bgr: bool = False
    """The bands are blue, green and red; pictures show them the other way round."""

    def __len__(self) -> int:
        return len(self.places)

    @property
    def titles(self) -> list[str]:
        """What is written over each image: class, place, and what the network says if it errs."""
        return [
            f"{label} (image {place})"
            + (f"\nseen as {seen}, p({label}) {own:.2g}" if hard and seen != label else "")
            + (f"\np({label}) {own:.2g}" if hard and seen == label else "")
            for label, place, hard, seen, own in zip(
                self.labels, self.places, self.hard, self.predicted, self.own, strict=True
            )
        ]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain values, without pixels and responses."""
        return [
            {
                "image": int(self.places[row]),
                "class": str(self.labels[row]),
                "hard": bool(self.hard[row]),
                "predicted": str(self.predicted[row]) or None,
                "p_own": float(self.own[row]) if np.isfinite(self.own[row]) else None,
            }
            for row in range(len(self))
        ]


def chosen_cases(
    found: ClassImages,
    judgement: tuple[np.ndarray, np.ndarray] | None,
    of: Sequence[str],
    examples: int = EXAMPLES,
    hard: int = HARD,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the images to show, and which of them are hard cases.

    Args:
        found: the sample.
        judgement: see `mi.class_images.judged`; without one there are no hard cases.
        of: names of the classes whose images are wanted. Of one class the hard cases are the images
            with the smallest probability of their own class; of two, with the smallest probability
            of their own class against the other.
        examples: of each class: the first ones that the network knows.
        hard: of each class at the most, the hardest first; from 0.9 on it is no hard case.

    Returns:
        (k,) int and (k,) bool: examples of each class, then hard cases of each.
    """
    plain_rows: list[int] = []
    hard_rows: list[int] = []
    for name in of:
        rows = np.flatnonzero(found.labels == name)
        if judgement is not None and found.outputs is not None:
            share = own_share(found, judgement[0], rows, of)
            order = np.argsort(share, kind="stable")
            difficult = rows[order[share[order] < _SURE]][:hard]
            hard_rows += difficult.tolist()
            known = judgement[1][rows] == name
            rows = rows[known] if known.any() else rows
            rows = rows[~np.isin(rows, difficult)] if len(rows) > len(difficult) else rows
        plain_rows += rows[:examples].tolist()
    flags = np.repeat([False, True], [len(plain_rows), len(hard_rows)])
    return np.array([*plain_rows, *hard_rows], np.int64), flags


def own_share(
    found: ClassImages, probabilities: np.ndarray, rows: np.ndarray, of: Sequence[str]
) -> np.ndarray:
    """(k,): probability of each image's own class, as a share of that of the classes `of` if these
    are two."""
    own = probabilities[rows, found.outputs[rows]]  # type: ignore[index]
    if len(of) == 1:
        return own
    places = [found.outputs[found.labels == name][0] for name in of]  # type: ignore[index]
    return own / np.maximum(probabilities[rows][:, places].sum(axis=1), 1e-30)
