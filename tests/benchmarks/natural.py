"""Pictures of the classes of a network of photographs, judged by another network.

    python -m tests.benchmarks.natural --classes 24 --seeds 0 1
        --presets natural natural:drop_path=0,mirror=false

EfficientNet-Lite0 is the network that images are grown for, EfficientNet-Lite2, which never saw
them, the judge; both come with the extra `imagenet`. The judge receives what a viewer gets: 256
levels a pixel. Printed for each preset: the shares of pictures whose class the judge puts first, or
among its first five, with 95 % intervals (Wilson); its mean probability of the class; the share of
power above a quarter of a cycle per pixel, and colorfulness, the mean distance of the bands from
gray over the deviation; the share of pixels outside the range of pictures before they were cut;
processor seconds a picture, screening and tracing included; and, from the second preset on, by how
much the probability is above that of the first, the same pictures one by one (95 % interval,
Student's). A preset is a name, or a name with changes. All pictures are written to a sheet.

    python -m tests.benchmarks.natural --maps 48 --photographs photographs.npz --keep pictures
        --methods natural lucid:256 lucid:512 tf-keras-vis:200 xplique:256@8 maco:256@2

Maps inside instead of classes: for each method and layer the mean legibility (`mi.legibility`, by
Lite2) of maps drawn by a stated seed, with a 95 % interval over maps (Student's), beside the upper
reference, the reference with one photograph and the control, and what is left of that mean without
that of the first method, map by map. Methods are presets, with changes or not, or a peer
(`natural_peers.py`) with its steps; `@8` takes only the first eight of a layer's drawn maps. One
that is not installed is left out. Pictures are kept in a folder, eight maps at a time, so that the
same call goes on, also with more maps.

With `--halves`, presets that take features from images of the data receive every second photograph,
and the judge is asked about the others, for all methods; the reference has fewer images then.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import binomtest
from scipy.stats import t as student

import oip
from oip import models
from oip.ascent.settings import ascent_settings
from oip.core import plots
from oip.core.checks import parse_assignments
from oip.core.frameworks import keras, tf
from oip.mi.judges import PictureScale, feature_directions, judge_of
from oip.mi.legibilities import judged_units, shown_features
from oip.network.forward import means_of_layers
from tests.benchmarks.natural_peers import PEERS

_TOGETHER = 8
"""Maps whose pictures are grown and kept at once."""
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


def interval_of_mean(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of values (n,), and the ends of its 95 % interval (Student's)."""
    mean = float(values.mean())
    half = student.ppf(0.975, len(values) - 1) * float(values.std(ddof=1)) / np.sqrt(len(values))
    return mean, mean - float(half), mean + float(half)


def measured(
    model: keras.Model, judge: keras.Model, preset: str, classes: list[int], options: Any
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the figures of one preset, with changes, over all classes and seeds.

    Also each picture's probability of its class, (seeds * classes,).
    """
    name, _, more = preset.partition(":")
    changes = parse_assignments([*options.set, *filter(None, more.split(","))], "--set")
    seeds, steps = options.seeds, options.steps
    drawn, used = [], time.process_time()
    for seed in seeds:
        objectives = [f"class:{number}" for number in classes]
        oips = oip.reconstruct(
            model, objective=objectives, preset=name, seed=seed, starts=1, steps=steps, **changes
        )
        drawn.append(np.asarray(oips.pixels[:, 0], np.float32))
    used = time.process_time() - used
    raw, numbers = np.concatenate(drawn), np.tile(classes, len(seeds))
    rounded = np.clip(np.round(raw), 0, 255)
    options.keep.mkdir(parents=True, exist_ok=True)
    sheet = Image.fromarray(plots.tiled(rounded.astype(np.uint8), len(classes), gap=4, between=255))
    sheet.save(options.keep / f"{preset.replace(':', '-')}.png")
    probabilities = judged(judge, rounded)
    own = probabilities[np.arange(len(numbers)), numbers]
    ranks = (probabilities > own[:, None]).sum(1)
    figures: dict[str, Any] = {"preset": preset, "pictures": len(numbers)}
    for name, first in (("top1", 1), ("top5", 5)):
        hits = int((ranks < first).sum())
        interval = binomtest(hits, len(ranks)).proportion_ci(method="wilson")
        figures |= {name: hits / len(ranks), f"{name}_interval": [interval.low, interval.high]}
    figures |= {
        "probability": float(own.mean()),
        "power_above_quarter": above_quarter_cycle(rounded),
        "colorfulness": colorfulness(rounded),
        "outside": float(np.mean((raw < -0.5) | (raw > 255.5))),
        "processor_seconds": used / len(numbers),
    }
    return figures, own


def pictures_of_maps(
    model: keras.Model,
    method: str,
    layer: str,
    maps: list[int],
    seed: int,
    keep: Path,
    data: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Return pictures (m, h, w, 3) uint8 of maps, and the mean seconds of one.

    Kept ones are taken; those that are missing are grown and kept, eight at a time. Images of the
    data are for presets that take features from them.
    """
    path = keep / f"{method.replace(':', '-')}-{layer}-{seed}.npz"
    pictures: dict[int, np.ndarray] = {}
    seconds: dict[int, float] = {}
    if path.exists():
        kept = np.load(path)
        pictures = dict(zip(kept["maps"].tolist(), kept["pictures"], strict=True))
        seconds = dict(zip(kept["maps"].tolist(), kept["seconds"].tolist(), strict=True))
    missing = [number for number in maps if number not in pictures]
    for first in range(0, len(missing), _TOGETHER):
        part = missing[first : first + _TOGETHER]
        started = time.process_time()
        pictures |= dict(zip(part, _grown(model, method, layer, part, seed, data), strict=True))
        seconds |= dict.fromkeys(part, (time.process_time() - started) / len(part))
        keep.mkdir(parents=True, exist_ok=True)
        columns = [list(pictures), np.stack(list(pictures.values())), list(seconds.values())]
        np.savez(path, **dict(zip(("maps", "pictures", "seconds"), columns, strict=True)))
    return np.stack([pictures[number] for number in maps]), float(
        np.mean([seconds[number] for number in maps])
    )


def _grown(
    model: keras.Model,
    method: str,
    layer: str,
    maps: list[int],
    seed: int,
    data: np.ndarray | None,
) -> np.ndarray:
    name, _, more = method.partition(":")
    if name in PEERS:
        raw = PEERS[name](model, f"{layer}_relu", maps, int(more or 256), seed)
    else:
        changes = parse_assignments([*filter(None, more.split(","))], "--methods")
        if name != "auto" and ascent_settings(name, **changes).reference_terms:
            changes["data"] = data
        changes = {"preset": name, "seed": seed, "starts": 1, **changes}
        oips = oip.reconstruct(model, layer, maps, **changes)
        raw = np.asarray(oips.pixels[[list(oips.maps).index(number) for number in maps], 0])
    return np.clip(np.round(raw), 0, 255).astype(np.uint8)


def judge_maps(options: argparse.Namespace, model: keras.Model, other: keras.Model) -> None:
    """Print the legibility of maps by each method and layer, and of all layers together."""
    random = np.random.default_rng(options.drawn)
    network = oip.Network(model)
    layers = [network.find(name) for name in options.layers]
    drawn = {layer.name: random.permutation(layer.maps).tolist() for layer in layers}
    grown: dict[tuple[str, str], tuple[np.ndarray, float]] = {}
    images = models.load(options.photographs, part="all", size=model.input_shape[1:3]).images
    data, images = (images[::2], images[1::2]) if options.halves else (None, images)
    for method in options.methods:
        name, _, count = method.partition("@")
        for layer in layers:
            maps = drawn[layer.name][: int(count or options.maps)]
            try:
                grown[method, layer.name] = pictures_of_maps(
                    model, name, layer.name, maps, options.seeds[0], options.keep, data
                )
            except ImportError as error:
                print(f"{name}: not installed ({error})", flush=True)
                break
            print(f"{method} {layer.name}: {grown[method, layer.name][1]:.1f} s", flush=True)
    scale = PictureScale.of(network.inputs, images)
    judge = judge_of(oip.Network(other), None, network, images, scale)
    means = means_of_layers(network, images, layers)
    responses = {layer.name: values for layer, values in zip(layers, means, strict=True)}
    features = judge.features(scale.pictures(images))
    mean = features.mean(0)
    features = feature_directions(features, mean)
    shares: dict[str, np.ndarray] = {}  # of the first method, by layer
    for method in options.methods:
        numbers, seconds, less = [], [], []
        for layer in layers:
            if (method, layer.name) not in grown:
                continue
            pictures, used = grown[method, layer.name]
            usable = np.ones((len(pictures), 1), bool)
            shown = shown_features(judge, pictures[:, None], usable, mean)
            own = responses[layer.name][:, drawn[layer.name][: len(pictures)]]
            result = judged_units(own, features, shown, usable.sum(1))
            names = ("share", "reference", "reference_same_count", "control")
            numbers.append(np.array([getattr(result, name) for name in names]))
            seconds.append(used)
            first = shares.setdefault(layer.name, result.share)
            both = min(len(first), len(pictures))
            less.append(first[:both] - result.share[:both])
            _print_maps(options, method, layer.name, numbers[-1:], seconds[-1:], less[-1:])
        if numbers:
            _print_maps(options, method, "all", numbers, seconds, less)


def _print_maps(
    options: argparse.Namespace,
    method: str,
    layer: str,
    numbers: list[np.ndarray],
    seconds: list[float],
    less: list[np.ndarray],
) -> None:
    share, reference, alone, control = np.concatenate(numbers, 1)
    finite, below = np.isfinite(share), np.concatenate(less)
    mean, low, high = interval_of_mean(share[finite])
    figures = {
        "method": method,
        "layer": layer,
        "maps": int(finite.sum()),
        "legibility": mean,
        "interval": [low, high],
        "below_first": interval_of_mean(below[np.isfinite(below)]),
        "reference": float(reference[finite].mean()),
        "reference_same_count": float(alone[finite].mean()),
        "control": float(control[finite].mean()),
        "processor_seconds": float(np.mean(seconds)),
    }
    if options.json:
        print(json.dumps(figures), flush=True)
        return
    print(
        f"{method:18} {layer:16} {figures['maps']:3} maps: {mean:.3f} ({low:.3f} to {high:.3f}), "
        f"best photographs {figures['reference']:.3f}, the best "
        f"alone {figures['reference_same_count']:.3f}, other maps {figures['control']:.3f}, "
        f"{figures['processor_seconds']:.1f} processor s a picture, "
        "below the first by {:.3f} ({:.3f} to {:.3f})".format(*figures["below_first"]),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--presets", nargs="+", default=["auto"])
    parser.add_argument("--classes", type=int, default=24)
    parser.add_argument("--drawn", type=int, default=DRAWN, help="Seed of the classes.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, help="Those of the preset if not given.")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--maps", type=int, help="Maps of each layer, instead of classes.")
    parser.add_argument("--layers", nargs="+", default=["block3b_expand", "block5b_expand", "head"])
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["natural", "default", "lucid:128", "xplique:256", "tf-keras-vis:200", "maco:256"],
    )
    parser.add_argument("--photographs", help="Images that maps are judged with, 1,000 or more.")
    parser.add_argument("--halves", action="store_true", help="Photographs for growing, too.")
    parser.add_argument("--keep", type=Path, default=Path("pictures"), help="Folder of pictures.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    random = np.random.default_rng(options.drawn)
    classes = sorted(random.choice(1000, options.classes, replace=False).tolist())
    model, judge = models.pretrained("efficientnet-lite0"), models.pretrained("efficientnet-lite2")
    if options.maps:
        judge_maps(options, model, judge)
        return
    first = None
    for preset in options.presets:
        figures, own = measured(model, judge, preset, classes, options)
        first = own if first is None else first
        figures["above_first"] = interval_of_mean(own - first)
        if options.json:
            print(json.dumps(figures), flush=True)
            continue
        shares = (
            f"{name} {figures[name]:.2f} ({figures[f'{name}_interval'][0]:.2f}-"
            f"{figures[f'{name}_interval'][1]:.2f})"
            for name in ("top1", "top5")
        )
        print(
            f"{preset}, {figures['pictures']} pictures:",
            *shares,
            f"probability {figures['probability']:.2f}",
            f"high {figures['power_above_quarter']:.3f}",
            f"color {figures['colorfulness']:.2f}",
            f"outside {figures['outside']:.3f}",
            f"processor s {figures['processor_seconds']:.1f}",
            "above the first by {:.3f} ({:.3f} to {:.3f})".format(*figures["above_first"]),
            flush=True,
        )


if __name__ == "__main__":
    main()
