"""The deep case of `ascent.py`: 64 maps of a middle layer of an untrained ResNet50, 224 pixels."""

from __future__ import annotations

import resource
import time

import numpy as np
from ascent_contestants import bare_loop, prepared


def deep() -> None:
    """Seconds a step beside the bare forward and backward pass, and peak memory."""
    import keras
    import tensorflow as tf

    from oip.ascent.reconstruction import images_at_once
    from oip.network.network import Network

    keras.utils.set_random_seed(0)
    network = Network(keras.applications.ResNet50(weights=None))
    layer = network.find("conv4_block3_2_conv")
    maps = np.arange(64)
    climber, noise, _ = prepared(network, layer, 4, tolerance=0.0, screened=4)
    noise = np.repeat(noise[:1], 64, axis=0)
    climber.climb(noise[:2], maps[:2])
    room = images_at_once(climber)
    print(f"{layer.name} of ResNet50 at 224 px: 64 maps, {room} at a time")
    run = bare_loop(network, layer, tf.range(room))
    images = tf.constant(noise[:room])
    run(images, tf.constant(1))
    for _ in range(2):
        times = []
        for work in (
            lambda: run(images, tf.constant(5)).numpy(),
            lambda: climber.climb(noise[:room], maps[:room]),
        ):
            began = time.perf_counter()
            work()
            times.append((time.perf_counter() - began) / 5)
        print(
            f"a step of {room} images: bare {times[0]:.3f} s, climb {times[1]:.3f} s,"
            f" ratio {times[1] / times[0]:.2f}"
        )
    began = time.perf_counter()
    for first in range(0, 64, room):
        climber.climb(noise[first : first + room], maps[first : first + room])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"64 maps, 4 steps: {time.perf_counter() - began:.1f} s; peak memory {peak:.2f} GiB")
