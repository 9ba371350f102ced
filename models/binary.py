"""All binary vectors of 12 numbers, in two classes by a symmetric rule.

A re-creation in the spirit of the data of the information plane's first network, 12-10-7-5-4-3-2,
whose own files are not used: there, 12 points on a sphere are on or off, and the label does not
change when the sphere turns. Here the points are the corners of an icosahedron. A vector belongs to
the class "many" if more than `THRESHOLD` of the 30 edges join a corner that is on to one that is
off. The rule is the same for all 120 symmetries of the icosahedron, and when all corners change.

References:
    R. Shwartz-Ziv, N. Tishby: Opening the black box of deep neural networks via information.
    arXiv:1703.00810, section 3.1.
"""

from __future__ import annotations

import itertools

import numpy as np

from models.datasets import Dataset, dataset

NAME = "binary-12"
CLASSES = ("few", "many")
THRESHOLD = 15
"""Half of the edges: of two corners at random, one in two pairs is on and off."""
_SHAPE = (3, 4, 1)


def vectors(source: str = NAME) -> Dataset:
    """The 4,096 vectors as images of 3 x 4 pixels of 0 and 1, in counting order.

    The corners are the pixels, row by row, in the order of `corners`.
    """
    on = np.array(list(itertools.product((0, 1), repeat=12)), np.uint8)
    ends = edges()
    changes = (on[:, ends[:, 0]] != on[:, ends[:, 1]]).sum(axis=1)
    labels = (changes > THRESHOLD).astype(np.int64)
    return dataset(on.reshape(-1, *_SHAPE).astype(np.float32), labels, CLASSES, source)


def corners() -> np.ndarray:
    """(12, 3): corners of an icosahedron with edges of length 2."""
    golden = (1 + 5**0.5) / 2
    return np.array(
        [
            np.roll((0.0, one, other * golden), turn)
            for turn in range(3)
            for one in (-1.0, 1.0)
            for other in (-1.0, 1.0)
        ]
    )


def edges() -> np.ndarray:
    """(30, 2): numbers of the corners that an edge joins."""
    places = corners()
    distances = np.linalg.norm(places[:, None] - places[None, :], axis=-1)
    return np.argwhere(np.triu(np.isclose(distances, 2.0)))
