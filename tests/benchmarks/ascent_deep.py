"""A step of the ascent on a deep network beside the bare forward and backward pass."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from tests.benchmarks.ascent_contestants import bare_loop, prepared

_STEPS = 11
"""Evaluations of a climb of ten steps, and steps of the bare loop. Shorter climbs leave the graph
after each step, as longer ones do not."""


def step_ratio(network: Any, name: str, rounds: int = 3) -> tuple[float, int]:
    """Return how many times as long as the bare pass a step takes, and the images at a time.

    Processor seconds, median of some rounds one after the other, at the batch that fits the budget.
    """
    import tensorflow as tf

    from oip.ascent.reconstruction import images_at_once

    layer = network.find(name)
    maps = np.arange(min(64, layer.maps))
    climber, noise, _ = prepared(network, layer, _STEPS - 1, tolerance=0.0, screened=4)
    noise = np.repeat(noise[:1], len(maps), axis=0)
    room = min(images_at_once(climber), len(maps))
    run = bare_loop(network, layer, tf.range(room))
    images = tf.constant(noise[:room])
    works = (
        lambda: run(images, tf.constant(_STEPS)).numpy(),
        lambda: climber.climb(noise[:room], maps[:room]),
    )
    for work in works:
        work()
    ratios = []
    for _ in range(rounds):
        seconds = []
        for work in works:
            started = time.process_time()
            work()
            seconds.append(time.process_time() - started)
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios), room
