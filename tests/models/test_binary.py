from __future__ import annotations

import itertools

import numpy as np

from oip.models import load, sources


def symmetries() -> list[np.ndarray]:
    """Every permutation of the corners that keeps all distances."""
    places = sources.corners()
    distances = np.linalg.norm(places[:, None] - places[None, :], axis=-1).round(6)
    found: list[tuple[int, ...]] = [()]
    for _ in range(12):
        found = [
            (*some, corner)
            for some in found
            for corner in range(12)
            if corner not in some
            and all(distances[corner, s] == distances[len(some), i] for i, s in enumerate(some))
        ]
    return [np.array(one) for one in found]


def test_the_corners_are_those_of_an_icosahedron() -> None:
    edges = sources.edges()
    assert len(edges) == 30
    assert np.bincount(edges.ravel()).tolist() == [5] * 12
    np.testing.assert_allclose(np.linalg.norm(sources.corners(), axis=1), 1.902113, rtol=1e-6)


def test_every_vector_is_there_once_and_the_rule_is_symmetric() -> None:
    data = sources.vectors()
    assert data.images.shape == (4096, 3, 4, 1)
    on = data.images.reshape(4096, 12).astype(int)
    assert len(np.unique(on, axis=0)) == 4096
    labels = dict(zip(map(tuple, on), data.labels, strict=True))
    turned = symmetries()
    assert len(turned) == 120
    some = np.random.default_rng(0).choice(4096, 40, replace=False)
    for row, turn in itertools.product(on[some], turned):
        assert labels[tuple(row[turn])] == labels[tuple(row)]
    assert all(labels[tuple(1 - row)] == labels[tuple(row)] for row in on)


def test_the_classes_are_even_and_the_rule_counts_edges() -> None:
    data = sources.vectors()
    assert data.labels is not None
    assert np.bincount(data.labels).tolist() == [2094, 2002]
    assert data.labels[0] == data.labels[1] == 0
    ends = sources.edges()
    on = data.images.reshape(4096, 12)
    counted = [sum(row[a] != row[b] for a, b in ends) for row in on[:300]]
    assert (np.array(counted) > 15).tolist() == (data.labels[:300] == 1).tolist()


def test_it_is_a_source_with_two_parts() -> None:
    train, test = load("binary-12:train"), load("binary-12:test")
    assert (len(train), len(test)) == (3277, 819)
    assert (train.low, train.high) == (0.0, 1.0)
    both = np.concatenate([train.images, test.images]).reshape(-1, 12)
    assert len(np.unique(both, axis=0)) == 4096
    assert len(load("binary-12")) == 4096
