"""Critics: small Keras networks that score how well an x and a y belong together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from oip.core import seeds

Kind = Literal["separable", "joint"]
KINDS = ("separable", "joint")
_EMBEDDING = 32
_ROWS_AT_ONCE = 1 << 16
_PATIENCE = 8
"""Looks at the bound, one every `_LOOK` steps, without gain after which training ends."""
_LOOK = 50


class Critic:
    """Scores of all pairs of some x and some y.

    `separable`: inner products of two embeddings; b^2 scores for the price of 2 b. `joint`: one
    network over x and y side by side, for dependence that needs many products.
    """

    def __init__(self, kind: Kind, dx: int, dy: int, units: int, seed: int) -> None:
        import keras

        self.kind = kind
        if kind == "joint":
            self._networks = [_network(keras, dx + dy, units, 1, seed)]
        else:
            self._networks = [
                _network(keras, width, units, _EMBEDDING, seed + place)
                for place, width in enumerate((dx, dy))
            ]

    @property
    def weights(self) -> list[Any]:
        """What is trained."""
        return [weight for network in self._networks for weight in network.trainable_variables]

    def tensor(self, x: Any, y: Any) -> Any:
        """(a, b) tensor: scores of every x (a, dx) with every y (b, dy)."""
        import tensorflow as tf

        if self.kind == "separable":
            first, second = self._networks[0](x), self._networks[1](y)
            return tf.matmul(first, second, transpose_b=True)
        a, b = tf.shape(x)[0], tf.shape(y)[0]
        both = tf.concat([tf.repeat(x, b, axis=0), tf.tile(y, tf.stack([a, 1]))], axis=1)
        return tf.reshape(self._networks[0](both), (a, b))

    def scores(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(a, b) float64, some rows at a time."""
        room = max(1, _ROWS_AT_ONCE // len(y))
        parts = [
            np.asarray(self.tensor(x[start : start + room], y), np.float64)
            for start in range(0, len(x), room)
        ]
        return np.concatenate(parts)


def train(
    critic: Critic,
    x: np.ndarray,
    y: np.ndarray,
    check: tuple[np.ndarray, np.ndarray],
    objective: Callable[[Any, Any], tuple[Any, Any]],
    value: Callable[[np.ndarray], float],
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> None:
    """Trains a critic (Adam) and leaves it as it was when it did best on pairs it did not see.

    Args:
        x, y: (n, dx) and (n, dy) float32, pairs.
        check: other pairs, by which the best state is told.
        objective: scores and a state -> what is to be raised, and the next state.
        value: the bound, from scores of all pairs of the check.
        steps: at the most.
        batch: pairs a step.
        rate: of Adam.
        seed: of the batches.
    """
    import keras
    import tensorflow as tf

    adam = keras.optimizers.Adam(rate)
    weights = critic.weights
    adam.build(weights)

    @tf.function(reduce_retracing=True)
    def step(first: Any, second: Any, state: Any) -> Any:
        with tf.GradientTape() as tape:
            raised, state = objective(critic.tensor(first, second), state)
            loss = -raised
        adam.apply(tape.gradient(loss, weights), weights)
        return state

    draw = seeds.generator(seed, "neural batches")
    state = tf.constant(0.0)
    best, kept, idle = -np.inf, [weight.numpy() for weight in weights], 0
    for place in range(steps):
        rows = draw.permutation(len(x))[:batch]
        state = step(tf.constant(x[rows]), tf.constant(y[rows]), state)
        if (place + 1) % _LOOK and place + 1 < steps:
            continue
        found = value(critic.scores(*check))
        if found > best:
            best, kept, idle = found, [weight.numpy() for weight in weights], 0
        else:
            idle += 1
            if idle == _PATIENCE:
                break
    for weight, saved in zip(weights, kept, strict=True):
        weight.assign(saved)


def _network(keras: Any, width: int, units: int, out: int, seed: int) -> Any:
    layers = keras.layers
    start = [
        keras.initializers.GlorotUniform(seeds.derived_seed(seed, "neural critic", place))
        for place in range(3)
    ]
    return keras.Sequential(
        [
            layers.Input((width,)),
            layers.Dense(units, activation="silu", kernel_initializer=start[0]),
            layers.Dense(units, activation="silu", kernel_initializer=start[1]),
            layers.Dense(out, kernel_initializer=start[2]),
        ]
    )
