"""Pictures of the classes of a network of photographs, judged by another network.

    python -m tests.benchmarks.natural --classes 24 --seeds 0 1

EfficientNet-Lite0 is the network that images are grown for, EfficientNet-Lite2, which never saw
them, the judge; both come with the extra `imagenet`. The judge receives what a viewer gets: 256
levels a pixel. Printed for each preset: the shares of pictures whose class the judge puts first, or
among its first five, with 95 % intervals (Wilson); its mean probability of the class; the share of
power above a quarter of a cycle per pixel, and colorfulness, the mean distance of the bands from
gray over the deviation; the share of pixels outside the range of pictures before they were cut; and
processor seconds a picture, screening and tracing included.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from scipy.stats import binomtest

import oip
from oip import models
from oip.core.frameworks import keras, tf

DRAWN = 2026
"""Seed of the classes that are reported; no setting was chosen on them."""


def above_quarter_cycle(images: np.ndarray) -> float:
    """Return the share of power above 1/4 cycle per pixel, of gray images, the mean left out."""
    gray = images.mean(-1)
    gray = gray - gray.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(gray)) ** 2
    line = np.fft.fftfreq(images.shape[1])
    high = np.hypot(line[:, None], line[None]) > 0.25
    return float(((power * high).sum((1, 2)) / power.sum((1, 2))).mean())


def colorfulness(images: np.ndarray) -> float:
    """Return the mean distance of the bands from gray, over the deviation of the image."""
    distance = np.abs(images - images.mean(-1, keepdims=True)).mean((1, 2, 3))
    return float((distance / images.std((1, 2, 3))).mean())


def judged(judge: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return (n, 1000) probabilities that another network gives pictures (n, h, w, 3)."""
    sides = judge.input_shape[1:3]
    parts = []
    for first in range(0, len(images), 16):
        part = tf.image.resize(images[first : first + 16], sides, "bicubic", antialias=True)
        parts.append(judge(tf.clip_by_value(part, 0, 255)).numpy())
    return np.concatenate(parts)


def measured(
    model: keras.Model,
    judge: keras.Model,
    preset: str,
    classes: list[int],
    seeds: list[int],
    steps: int,
) -> dict[str, object]:
    """Return the figures of one preset, over all classes and seeds."""
    drawn, used = [], time.process_time()
    for seed in seeds:
        objectives = [f"class:{number}" for number in classes]
        oips = oip.reconstruct(
            model, objective=objectives, preset=preset, seed=seed, starts=1, steps=steps
        )
        drawn.append(np.asarray(oips.pixels[:, 0], np.float32))
    used = time.process_time() - used
    raw, numbers = np.concatenate(drawn), np.tile(classes, len(seeds))
    seen = np.clip(np.round(raw), 0, 255)
    probabilities = judged(judge, seen)
    own = probabilities[np.arange(len(numbers)), numbers]
    ranks = (probabilities > own[:, None]).sum(1)
    figures: dict[str, object] = {"preset": preset, "pictures": len(numbers)}
    for name, first in (("top1", 1), ("top5", 5)):
        hits = int((ranks < first).sum())
        interval = binomtest(hits, len(ranks)).proportion_ci(method="wilson")
        figures |= {name: hits / len(ranks), f"{name}_interval": [interval.low, interval.high]}
    return figures | {
        "probability": float(own.mean()),
        "power_above_quarter": above_quarter_cycle(seen),
        "colorfulness": colorfulness(seen),
        "outside": float(np.mean((raw < -0.5) | (raw > 255.5))),
        "processor_seconds": used / len(numbers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--presets", nargs="+", default=["auto"])
    parser.add_argument("--classes", type=int, default=24)
    parser.add_argument("--drawn", type=int, default=DRAWN, help="Seed of the classes.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    random = np.random.default_rng(options.drawn)
    classes = sorted(random.choice(1000, options.classes, replace=False).tolist())
    model, judge = models.pretrained("efficientnet-lite0"), models.pretrained("efficientnet-lite2")
    for preset in options.presets:
        figures = measured(model, judge, preset, classes, options.seeds, options.steps)
        if options.json:
            print(json.dumps(figures), flush=True)
            continue
        shares = (
            f"{name} {figures[name]:.2f} ({figures[f'{name}_interval'][0]:.2f}-"
            f"{figures[f'{name}_interval'][1]:.2f})"
            for name in ("top1", "top5")
        )
        print(
            f"{preset}, {figures['pictures']} pictures, {options.steps} steps:",
            *shares,
            f"probability {figures['probability']:.2f}",
            f"high {figures['power_above_quarter']:.3f}",
            f"color {figures['colorfulness']:.2f}",
            f"outside {figures['outside']:.3f}",
            f"processor s {figures['processor_seconds']:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
