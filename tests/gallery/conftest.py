"""Runs that were never made by a network: smooth noise as OIPs, made-up information."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oip.ascent.results import Oips
from oip.core import files, seeds
from oip.core.formats import RunFile
from oip.run.run import Run
from oip.run.shards import write_shard

CLASSES = ["ankle boot", "bag", "coat", "dress"]
STARTS, STEPS, STAGES = 3, 20, (0, 2, 5, 10, 20)
VERDICTS = ("responsive", "revived", "reachable-only", "dead", "failed")


def smooth(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Noise (..., h, w, b) of long wavelengths, standardised."""
    height, width = shape[-3:-1]
    values = random.normal(size=shape)
    for axis, side in ((-3, height), (-2, width)):
        decay = np.exp(-0.5 * (np.fft.fftfreq(side) * side / 2.5) ** 2)
        decay = decay.reshape(
            [-1 if index == axis % len(shape) else 1 for index in range(len(shape))]
        )
        values = np.fft.ifft(np.fft.fft(values, axis=axis) * decay, axis=axis).real
    axes = (-3, -2, -1)
    return (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)


def make_oips(
    layer: str, index: int, maps: np.ndarray, shape: tuple[int, ...], starts: int = STARTS
) -> Oips:
    """OIPs of a layer. Map 3 is dead, 4 reachable only, 5 failed, 8 ended early.

    Two sides are lines.
    """
    if len(shape) == 2:
        rows = make_oips(layer, index, maps, (1, *shape), starts)
        lines = {name: getattr(rows, name).squeeze(-3) for name in ("images", "snapshots")}
        return replace(rows, **lines, visible=np.ones(shape[:1], bool))
    random = seeds.generator(0, "test oips", index)
    count = len(maps)
    scores = np.sort(random.gamma(2.0, 1.0, (count, starts)), axis=1)[:, ::-1].copy()
    codes = random.integers(0, 2, count)
    for number, code in ((3, 3), (4, 2), (5, 4)):
        codes[maps == number] = code
    scores[codes == 3] = 0.0
    scores[codes == 4] = np.nan
    steps = np.linspace(0.0, 1.0, STEPS + 1) ** 0.5
    traces = scores[:, :, None] * steps
    images = smooth(random, count, starts, *shape)
    images[codes == 4] = np.nan
    noise = smooth(random, count, 1, *shape)
    share = (np.array(STAGES) / STEPS)[None, :, None, None, None]
    none = np.full(count, np.nan)
    return Oips(
        layer=layer,
        index=index,
        maps=maps,
        images=images,
        scores=scores,
        pre_scores=scores,
        starts=np.tile(np.arange(starts), (count, 1)),
        amplitudes=np.ones((count, starts, 4)),
        traces=traces,
        steps=np.where(maps == 8, STEPS - 3, STEPS)[:, None].repeat(starts, 1),
        reasons=np.where(codes == 4, 3, 0)[:, None].repeat(starts, 1),
        snapshots=noise * (1 - share) + images[:, :1] * share,
        snapshot_steps=np.array(STAGES),
        verdict_codes=codes,
        converged=random.random(count) < 0.5,
        provably_dead=codes == 3,
        saturated=np.zeros(count, bool),
        white_scores=scores[:, 0] / 5,
        screened_scores=scores[:, 0] / 2,
        data_scores=np.where(codes == 2, 0.0, scores[:, 0] / 3),
        data_active=np.where(codes == 2, 0.0, 0.4),
        stability=none,
        null_percentile=none,
        n_null=np.zeros(count, np.int64),
        clusters=np.full((count, starts), -1),
        medoids=np.zeros((count, starts), bool),
        visible=np.ones(shape[:2], bool),
        mean=np.zeros(shape[-1]),
        std=np.ones(shape[-1]),
    )


def make_ranking(
    layer: str, index: int, maps: np.ndarray, classes: list[str], names: tuple[str, ...]
) -> dict:
    """A ranking as `oip rank` writes it; the last map has no number, the first is saturated."""
    random = seeds.generator(0, "test ranking", index)
    estimators = []
    for name in names:
        mi = np.round(random.beta(1.3, 3.0, len(maps)) * 2, 4)
        order = np.argsort(-mi, kind="stable")
        entries = []
        for rank, row in enumerate(order, start=1):
            per_class = random.random(len(classes)) * mi[row] / 3
            entries.append(
                {
                    "map": int(maps[row]),
                    "rank": rank,
                    "rank_low": max(1, rank - 2),
                    "rank_high": min(len(maps), rank + 2),
                    "mi": float(mi[row]),
                    "low": float(mi[row] * 0.9),
                    "high": float(mi[row] * 1.1),
                    "p_value": 0.4 if mi[row] < 0.1 else 1 / 1001,
                    "p_adjusted": 0.5 if mi[row] < 0.1 else 0.002,
                    "saturated": rank == 1 and name == "kde",
                    "per_class": [float(value) for value in per_class],
                }
            )
        estimators.append(
            {
                "estimator": name,
                "name_shown": {"decoder": "usable information (a lower bound)"}.get(name, name),
                "parameters": {"noise": 0.1} if name == "kde" else {},
                "unit": "bits",
                "samples": 1000,
                "split": "test",
                "ceiling": float(np.log2(len(classes))),
                "saturated_share": 0.0,
                "maps": entries,
            }
        )
    return {"layer": layer, "index": index, "classes": classes, "estimators": estimators}


def make_responses(index: int, count: int, classes: int, images: int) -> dict[str, np.ndarray]:
    """Best images and histograms as `Run.responses` documents them."""
    random = seeds.generator(0, "test responses", index)
    best = np.stack([random.permutation(images)[:9] for _ in range(count)])
    best[0, 4:] = -1
    points = random.normal(size=(count, 6)).astype(np.float32)
    points[0] = 0.0
    atlas = {"likeness": points} if count <= 400 else {}
    return atlas | {
        "maps": np.arange(count),
        "best_images": best,
        "best_scores": np.sort(random.random((count, 9)))[:, ::-1],
        "best_positions": random.integers(0, 3, (count, 9, 2)),
        "edges": np.linspace(0, 1, 17)[None] * random.uniform(1, 3, (count, 1)),
        "histogram": random.poisson(6, (count, classes, 16)),
        "active": random.random(count),
    }


def make_run(
    path: Path,
    *,
    names: tuple[str, ...] = ("first", "second"),
    counts: tuple[int, ...] = (12, 40),
    shape: tuple[int, ...] = (12, 12, 1),
    classes: list[str] | None = None,
    ranked: tuple[int, ...] = (0, 1),
    grown: tuple[int, ...] = (0, 1),
    estimators: tuple[str, ...] = ("decoder", "kde"),
    images: int = 30,
    model: str = "small.keras",
    **more: object,
) -> Run:
    """A run with OIPs of the layers `grown` and a ranking of the layers `ranked`."""
    classes = CLASSES if classes is None else classes
    axes = len(shape) - 1
    layers = [
        {
            "index": index,
            "layer": name,
            "class": "Conv2D",
            "maps": count,
            "size": [5] * axes,
            "receptive_field": [3 + 4 * index] * axes,
            "jump": [2] * axes,
            "offset": [1.5] * axes,
        }
        for index, (name, count) in enumerate(zip(names, counts, strict=True))
    ]
    bands = shape[-1]
    run = Run.begin(
        path,
        RunFile.of(
            {
                "model": {"name": model, "sha256": "5" * 64},
                "input": {
                    "shape": list(shape),
                    "mean": [0.0] * bands,
                    "std": [1.0] * bands,
                    "low": 0.0,
                    "high": 255.0,
                    "source": "sidecar",
                    "bgr": False,
                },
                "layers": layers,
                "classes": classes,
                "data": {"source": "mnist-sample:test", "images": images},
                "settings": {
                    "reconstruct": {"starts": STARTS, "steps": STEPS, "noise": "equal", "seed": 7}
                },
                "versions": {"python": "3.11"},
                "accuracy": 0.981,
                **more,
            }
        ),
    )
    for index in grown:
        maps = np.arange(counts[index])
        for number, first in enumerate(range(0, counts[index], 64)):
            part = maps[first : first + 64]
            shard = make_oips(names[index], index, part, shape)
            write_shard(run.shard(index, number), shard, "key")
    for index in ranked:
        maps = np.arange(counts[index])
        ranking = make_ranking(names[index], index, maps, classes, estimators)
        files.write_json(run.folder(index) / "ranking.json", {"schema": 1, **ranking})
        files.write_arrays(
            run.folder(index) / "responses.npz",
            make_responses(index, counts[index], len(classes), images),
        )
    return run


def add_evidence(run: Run, index: int, count: int, classes: int) -> None:
    """Every file that the gallery can read beside OIPs and ranking, made up, for one layer.

    Maps 0 and 1 hold the same; kernel 2 of map 0 is its best; map 1 can be silenced.
    """
    random = seeds.generator(0, "test evidence", index)
    maps = np.arange(count)
    folder = run.folder(index)
    own = random.uniform(1.0, 2.0, count).astype(np.float32)
    shared = np.minimum(own[:, None], own[None, :]) * random.uniform(0.0, 0.6, (count, count))
    shared = np.triu(shared, 1)
    shared = (shared + shared.T).astype(np.float32)
    shared[0, 1] = shared[1, 0] = 0.97 * min(own[0], own[1])
    np.fill_diagonal(shared, own)
    correlation = np.clip(shared / 2, -1, 1).astype(np.float32)
    files.write_arrays(
        folder / "redundancy.npz",
        {
            "schema": np.array(1),
            "maps": maps,
            "names": np.array(["renyi", "correlation"]),
            "units": np.array(["bits", ""]),
            "pairs": np.stack([shared, correlation]),
        },
    )
    probabilities = random.dirichlet(np.full(classes, 0.4), count)
    files.write_arrays(
        folder / "softmax.npz",
        {"schema": np.array(1), "maps": maps, "probabilities": probabilities},
    )
    kernels = [
        {
            "map": int(number),
            "of": 30,
            "kernels": [
                {
                    "input": int(channel),
                    "mi": float(mi),
                    "low": float(mi) * 0.9,
                    "high": float(mi) * 1.1,
                    "weights": random.normal(size=(3, 3)).tolist(),
                }
                for channel, mi in zip((2, 0, 5), (0.5, 0.3, 0.1), strict=True)
            ],
        }
        for number in maps[:4]
    ]
    content = {"schema": 1, "estimator": "kde", "samples": 500, "ceiling": 2.0, "maps": kernels}
    files.write_json(folder / "kernels.json", content)
    silenced = [
        {
            "map": int(number),
            "loss_increase": -0.01 if number == 1 else 0.02 + 0.01 * int(number),
            "accuracy_drop": 0.001 * int(number),
        }
        for number in maps
    ]
    files.write_json(
        folder / "ablation.json",
        {"schema": 1, "samples": 900, "loss": 0.1, "accuracy": 0.98, "maps": silenced},
    )
    shares = [None if number == 2 else round(float(random.uniform(0.4, 1)), 3) for number in maps]
    judged = [
        {
            "map": int(number),
            "share": share,
            "low": share and share - 0.1,
            "high": share and min(1.0, share + 0.1),
            "reference": share and 0.95,
            "reference_same_count": share and 0.75,
            "control": share and 0.51,
            "pairs": 5000 if share else 0,
            "reason": "" if share else "silent",
        }
        for number, share in zip(maps, shares, strict=True)
    ]
    table = {"schema": 1, "layer": run.layer(index).name, "index": index, "judge": "other.keras"}
    files.write_json(
        folder / "legibility.json", {**table, "samples": 1000, "split": "photos", "maps": judged}
    )
    steps = np.array([0, 10, 20, 40])
    label = np.sqrt(steps / 40)[:, None] * random.uniform(0.2, 1.5, count)
    files.write_arrays(
        run.path / "record" / f"layer-{index:03d}.npz",
        {"schema": np.array(1), "maps": maps, "steps": steps, "label": label},
    )


def add_record(run: Run) -> None:
    """Layers during training, made up."""
    growth = [0.0, 0.9, 1.4, 1.6]
    files.write_json(
        run.path / "record" / "record.json",
        {
            "schema": 1,
            "estimator": "kde",
            "name_shown": "mutual information (kernel estimate)",
            "samples": 500,
            "split": "train",
            "label_ceiling": 2.0,
            "input_ceiling": 8.97,
            "steps": [0, 10, 20, 40],
            "layers": [
                {
                    "index": layer.index,
                    "layer": layer.name,
                    "input": [8.0 - layer.index - bits for bits in growth],
                    "label": [bits * (1 - 0.2 * layer.index) for bits in growth],
                }
                for layer in run.layers
            ],
        },
    )


@pytest.fixture
def full_run(tmp_path):
    """A run of two layers with every file that the gallery reads."""
    run = make_run(tmp_path / "full")
    for index, count in ((0, 12), (1, 40)):
        add_evidence(run, index, count, len(CLASSES))
    add_record(run)
    return run


@pytest.fixture
def maker():
    """`make_run`."""
    return make_run


@pytest.fixture
def run(tmp_path):
    """A run of two layers with everything."""
    return make_run(tmp_path / "run")


@pytest.fixture
def edit_record():
    """A function that changes the plain values of a run's run.json, in memory."""

    def edit(run: Run, change) -> None:
        values = run.record.content()
        change(values)
        run.record = RunFile.of(values)

    return edit
