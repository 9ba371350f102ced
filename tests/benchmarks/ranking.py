"""Which estimator orders maps best, by judges that are no candidates; run by hand.

    python tests/benchmarks/ranking.py --work FOLDER [--data mnist fashion-mnist] [--seeds 3] ...

Networks are trained on part of each data set. The candidates rank maps of their layers by some test
images; the judges see other test images:

- `network`: H(Y) less the held-out cross-entropy of one hidden layer of 48 units on one map's
  response (plain NumPy, Adam, stopped by images of its own);
- `forest`: the same of a random forest of 60 trees (scikit-learn);
- `ablation`: what the loss of the trained network gains when the map is set to its mean.

The first two judge two halves of their images apart: the Spearman correlation of the halves is how
consistent the judge is, and what is quoted for a candidate is its Spearman with the mean of the two
halves. `both` is the mean of the two judges, `best` the larger of them map by map: each is a lower
bound, so that the larger is nearer to the truth. Everything is kept in FOLDER, layer by layer; what
is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from oip import mi, models
from oip.core import seeds
from oip.mi.backend import thread_map
from oip.mi.estimators.held_out import class_shares, guarded, own_class, shares
from oip.mi.ranking import spearman
from oip.network.forward import map_blocks
from oip.network.network import Network

HIDDEN = 48
TREES = 60
PIECES = 40
_FIRST = 1000
"""Test images before those of the judges; candidates that see more go on behind them."""
SLOW = {"renyi", "renyi-wide", "dsmi", "dse"}
"""An eigenvalue problem for every class: they see fewer images."""


def candidates() -> dict[str, Any]:
    """Name in the table -> estimator."""
    return {
        "decoder": mi.estimator("decoder"),
        "predictive": mi.estimator("predictive"),
        "kde": mi.estimator("kde"),
        "kde-narrow": mi.estimator("kde", relative=0.02),
        "kde-fixed": mi.estimator("kde", noise=0.1),
        "ksg": mi.estimator("ksg"),
        "gaussian": mi.estimator("gaussian"),
        "vme": mi.estimator("vme"),
        "binning": mi.estimator("binning"),
        "renyi": mi.estimator("renyi"),
        "dsmi": mi.estimator("dsmi"),
    }


def network_judge(x: np.ndarray, codes: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """(maps,): bits about the labels of images in `test`, told by networks trained on the others.

    Args:
        x: (n, maps, d).
        codes: (n,).
        test: (n,) bool.
    """
    rng = np.random.default_rng(seed)
    classes = codes.max() + 1
    train = np.flatnonzero(~test)
    stop = rng.random(len(train)) < 0.2
    fit, check = train[~stop], train[stop]
    features = np.stack(thread_map(lambda values: _pieces(values, train), x.swapaxes(0, 1)))
    maps, _, width = features.shape
    onehot = np.eye(classes, dtype=np.float32)[codes]
    weights = [
        rng.normal(size=(maps, width, HIDDEN)).astype(np.float32) * (2 / width) ** 0.5,
        np.zeros((maps, 1, HIDDEN), np.float32),
        np.zeros((maps, HIDDEN, classes), np.float32),
        np.zeros((maps, 1, classes), np.float32),
    ]
    first = [np.zeros_like(part) for part in weights]
    second = [np.zeros_like(part) for part in weights]
    best = np.full(maps, -np.inf)
    predicted = np.zeros((maps, int(test.sum()), classes), np.float32)
    log_shares = np.log(shares(codes[train], classes))

    def forward(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        hidden = np.maximum(features[:, rows] @ weights[0] + weights[1], 0)
        odds = hidden @ weights[2] + weights[3]
        odds -= odds.max(axis=2, keepdims=True)
        odds -= np.log(np.exp(odds).sum(axis=2, keepdims=True))
        return features[:, rows], hidden, odds

    for step in range(1, 241):
        rows = rng.choice(fit, min(256, len(fit)), replace=False)
        inputs, hidden, odds = forward(rows)
        slope = (np.exp(odds) - onehot[rows]) / len(rows)
        gradient = (slope @ weights[2].swapaxes(1, 2)) * (hidden > 0)
        slopes = [
            inputs.swapaxes(1, 2) @ gradient + 1e-3 * weights[0],
            gradient.sum(axis=1, keepdims=True),
            hidden.swapaxes(1, 2) @ slope + 1e-3 * weights[2],
            slope.sum(axis=1, keepdims=True),
        ]
        for index, part in enumerate(slopes):
            first[index] = 0.9 * first[index] + 0.1 * part
            second[index] = 0.99 * second[index] + 0.01 * part**2
            root = np.sqrt(second[index] / (1 - 0.99**step)) + 1e-8
            weights[index] -= 0.01 * first[index] / (1 - 0.9**step) / root
        if step % 20 == 0:
            odds = forward(check)[2]
            reached = odds[:, np.arange(len(check)), codes[check]].mean(axis=1)
            better = reached > best
            best = np.maximum(best, reached)
            if better.any():
                predicted[better] = forward(np.flatnonzero(test))[2][better]
    gains = [
        _bits(odds.T.astype(np.float64), log_shares, codes, test, len(train)) for odds in predicted
    ]
    return np.array(gains)


def forest_judge(x: np.ndarray, codes: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """(maps,): the same by random forests, of the plain responses."""
    from sklearn.ensemble import RandomForestClassifier

    log_shares = np.log(shares(codes[~test], codes.max() + 1))

    def of_map(values: np.ndarray) -> float:
        forest = RandomForestClassifier(TREES, min_samples_leaf=3, n_jobs=1, random_state=seed)
        forest.fit(values[~test], codes[~test])
        with np.errstate(divide="ignore"):
            odds = np.log(forest.predict_proba(values[test])).T
        # What no tree has seen counts as one tree of the class shares.
        return _bits(odds, log_shares, codes, test, TREES)

    return np.array(thread_map(of_map, x.swapaxes(0, 1)))


def _pieces(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(n, pieces): principal components of the training images' responses, on one scale."""
    centred = x - x[train].mean(axis=0)
    axes = np.linalg.eigh(centred[train].T @ centred[train])[1][:, ::-1]
    components = centred @ axes[:, :PIECES]
    scale = components[train].std(axis=0).max()
    return (components / (scale if scale > 0 else 1.0) * 2).astype(np.float32)


def _bits(
    odds: np.ndarray, log_shares: np.ndarray, codes: np.ndarray, test: np.ndarray, samples: int
) -> float:
    with np.errstate(divide="ignore"):
        log_probabilities = own_class(guarded(odds, log_shares, samples), codes[test])
    return float(
        (log_probabilities - own_class(class_shares(codes[test]), codes[test])).mean() / np.log(2)
    )


def judged(x: np.ndarray, codes: np.ndarray, seed: int) -> dict[str, list[list[float]]]:
    """Judge -> two halves of (maps,) bits; each half is predicted from its own other half."""
    part = np.random.default_rng(seed).permutation(len(codes)) % 4
    judges = {"network": network_judge, "forest": forest_judge}
    gains: dict[str, list[list[float]]] = {name: [] for name in judges}
    for half in (0, 1):
        inside = part // 2 == half
        test = part[inside] % 2 == 1
        for name, judge in judges.items():
            both = [judge(x[inside], codes[inside], side, seed) for side in (test, ~test)]
            gains[name].append(np.mean(both, axis=0).tolist())
    return gains


def model_of(source: str, seed: int, options: argparse.Namespace) -> Path:
    """A trained network, made where it is not there."""
    path = options.work / f"{source}-{options.recipe}-{seed}.keras"
    if path.exists():
        return path
    train, test = (models.load(source, part=part) for part in ("train", "test"))
    if options.images and len(train) > options.images:
        rows = np.random.default_rng(seed).permutation(len(train))[: options.images]
        train = models.Dataset(
            train.images[rows],
            train.labels[rows],
            train.classes,
            train.source,
            train.low,
            train.high,
        )
    settings = models.recipe(options.recipe).settings(
        len(train), epochs=options.epochs, batch=64, seed=seed
    )
    result = models.train(options.recipe, train, test, settings, path)
    print(f"{path.name}: accuracy {result.accuracy:.4f}, {result.seconds:.0f} s", flush=True)
    return path


def measure(source: str, seed: int, options: argparse.Namespace) -> None:
    """One network: candidates, judges and ablation of some maps of every layer."""
    network = Network(model_of(source, seed, options))
    data = models.load(source, part="test")
    order = np.random.default_rng(100 + seed).permutation(len(data))
    first, unseen, more = np.split(order, [_FIRST, _FIRST + options.judge_samples])
    train_rows = np.concatenate([first, more])[: options.samples]
    chosen = [network.find(name) for name in options.layers or ()] or network.layers
    for layer in chosen:
        path = options.work / f"{source}-{options.recipe}-{seed}-{layer.index}.json"
        record = json.loads(path.read_text()) if path.exists() else {}
        drawn = seeds.generator(seed, "benchmark maps", layer.index).permutation(layer.maps)
        maps = np.sort(drawn[: options.maps])
        values = {}
        for name, rows in (("seen", train_rows), ("unseen", unseen)):
            blocks = map_blocks(network, data.images[rows], layer, maps, options.at, 1 << 30)
            values[name] = np.concatenate([block for _, block in blocks], axis=1)
        alive = values["unseen"].std(axis=0).max(axis=1) > 0
        record.setdefault("maps", maps[alive].tolist())
        for candidate, estimator in candidates().items():
            name = candidate if options.samples == _FIRST else f"{candidate} {options.samples}"
            if (options.candidates and candidate not in options.candidates) or name in record:
                continue
            count = (
                min(options.slow_samples, len(train_rows)) if candidate in SLOW else len(train_rows)
            )
            started, used = time.perf_counter(), time.process_time()
            estimates = estimator.over_maps(
                values["seen"][:count, alive], data.labels[train_rows[:count]], seed
            )
            record[name] = {
                "bits": (estimates.raw / np.log(2)).tolist(),
                "saturated": float(estimates.saturated.mean()),
                "samples": count,
                "seconds": time.perf_counter() - started,
                "core_seconds": time.process_time() - used,
            }
            path.write_text(json.dumps(record))
        if "network" not in record:
            record |= judged(values["unseen"][:, alive], data.labels[unseen], seed)
            path.write_text(json.dumps(record))
        if "ablation" not in record:
            rows = unseen[:_FIRST]
            estimates = mi.ablate(
                network, data.images[rows], data.labels[rows], layer, maps=maps[alive], to="mean"
            )
            record["ablation"] = estimates.loss_increase.tolist()
            path.write_text(json.dumps(record))
        print(f"{path.name} done", flush=True)


def table(options: argparse.Namespace) -> None:
    """Spearman correlations, means over the networks that were measured."""
    for source in options.data:
        for judge in ("network", "forest", "both", "best", "ablation"):
            rows: dict[str, dict[int, list[float]]] = {}
            for path in sorted(options.work.glob(f"{source}-{options.recipe}-*-*.json")):
                record, layer = json.loads(path.read_text()), int(path.stem.rpartition("-")[2])
                if "network" not in record or (judge == "ablation" and "ablation" not in record):
                    continue
                halves = [np.array(record[name]) for name in ("network", "forest")]
                if judge == "ablation":
                    reference = np.array(record["ablation"])
                else:
                    two = {
                        "network": halves[0],
                        "forest": halves[1],
                        "both": halves[0] + halves[1],
                        "best": np.maximum(*halves),
                    }[judge]
                    reference = two.mean(axis=0)
                    row = rows.setdefault("(its own halves)", {})
                    row.setdefault(layer, []).append(spearman(*two))
                for name in record:
                    if name.partition(" ")[0] in candidates():
                        value = spearman(np.array(record[name]["bits"]), reference)
                        rows.setdefault(name, {}).setdefault(layer, []).append(value)
                if judge == "ablation":
                    value = spearman(np.sum(halves, axis=(0, 1)), reference)
                    rows.setdefault("(both judges)", {}).setdefault(layer, []).append(value)
            print(f"\n{source}, judge: {judge}")
            for name, layers in rows.items():
                cells = [_cell(values) for _, values in sorted(layers.items())]
                print(f"  {name:18s} {'  '.join(cells)}   {len(next(iter(layers.values())))} nets")


def _cell(values: list[float]) -> str:
    """Mean and smallest; a candidate that puts all maps at its ceiling has no order to compare."""
    finite = [value for value in values if np.isfinite(value)]
    return f"{np.mean(finite):6.2f} ({min(finite):5.2f})" if finite else "     -  (  -  )"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="Folder of networks and results.")
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", type=int, default=3, help="Networks a data set.")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--recipe", default="conv-stack")
    parser.add_argument("--layers", nargs="*", help="Names of layers; all.")
    parser.add_argument("--at", choices=("response", "block"), default="response")
    parser.add_argument("--images", type=int, default=10_000, help="To train on; 0: all.")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--maps", type=int, default=24, help="Of each layer, drawn at random.")
    parser.add_argument("--samples", type=int, default=1000, help="Images of the candidates.")
    parser.add_argument("--slow-samples", type=int, default=300, help="Of the eigenvalue ones.")
    parser.add_argument("--judge-samples", type=int, default=4000, help="Images of the judges.")
    parser.add_argument("--candidates", nargs="*", help="Only these.")
    parser.add_argument("--only-table", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.only_table:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for source in options.data:
                measure(source, seed, options)
    table(options)


if __name__ == "__main__":
    main()
