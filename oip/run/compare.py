"""Two runs side by side, map by map: two checkpoints, two seeds, two settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.ascent.results import Oips
from oip.ascent.similarity import image_similarity, shift_reach
from oip.core import html
from oip.core.errors import RunError, expected
from oip.run.run import Run
from oip.run.shards import read_shard

_LEAST_OTHERS = 8


class Comparison(dict[str, Any]):
    """What `compare_runs` returns: plain values that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        headings = (
            "layer",
            "maps",
            "same verdict",
            "similarity, median",
            "scores, Spearman",
            "bits, Spearman",
        )
        rows = [
            (
                one["layer"],
                len(one["maps"]),
                one["same_verdict"],
                one["median_similarity"],
                one["score_correlation"],
                one["mi_correlation"],
            )
            for one in self["layers"]
        ]
        same = "the same model" if self["same_model"] else "different models"
        title = " and ".join(self["runs"]) + f" ({same})"
        return html.block(title, html.table(headings, rows))


def compare_runs(first: Run, second: Run) -> Comparison:
    """What two runs say of the same maps of the same layers.

    `similarity` is that of the best images, the largest normalised cross-correlation over shifts of
    one pooled cell; `percentile` is its place (0 to 100) among the similarities to the second run's
    other maps of the same block, None with fewer than 8 of them. Between two models a map's number
    only means the same where one was trained on from the other.

    Returns:
        runs, same_model, and layers that both have: layer, index, maps (map, verdicts, scores,
        similarity, percentile, ranks, mi in bits), same_verdict (count), median_similarity,
        score_correlation and mi_correlation (Spearman), estimator; None where not known.

    Raises:
        RunError: inputs of different shapes, no layer in both, or a damaged shard.
    """
    shapes = [tuple(run.info["input"]["shape"]) for run in (first, second)]
    if shapes[0] != shapes[1]:
        raise RunError(expected("the runs' inputs", f"one shape, {shapes[0]}", shapes[1]))
    named = {_identity(layer): layer["index"] for layer in second.layers}
    pairs = [
        (layer, named[_identity(layer)]) for layer in first.layers if _identity(layer) in named
    ]
    layers = [_layer(first, second, layer, other) for layer, other in pairs]
    layers = [one for one in layers if one["maps"]]
    if not layers:
        raise RunError(
            expected(f"'{first.path}' and '{second.path}'", "maps that both have", "none")
        )
    return Comparison(
        runs=[str(first.path), str(second.path)],
        same_model=first.info["model"]["sha256"] == second.info["model"]["sha256"],
        layers=layers,
    )


def _identity(layer: dict[str, Any]) -> tuple[str, ...]:
    """A layer by its name; objectives by all of their expressions."""
    return (layer["layer"], *layer.get("objectives", ()))


def _layer(first: Run, second: Run, layer: dict[str, Any], other: int) -> dict[str, Any]:
    index = layer["index"]
    ranks = [_ranks(run, number) for run, number in ((first, index), (second, other))]
    estimator = ranks[0][0] if ranks[0][0] == ranks[1][0] else None
    maps: dict[int, dict[str, Any]] = {}
    theirs = {path.name: path for path in second.shards(other)}
    for path in first.shards(index):
        if path.name in theirs:
            here, there = (read_shard(one, snapshots=False)[0] for one in (path, theirs[path.name]))
            maps |= _block(here, there, layer.get("jump"))
    known = set(ranks[0][1]) & set(ranks[1][1]) if estimator else set()
    for number in sorted(known | set(maps)):
        one = maps.setdefault(number, {"map": number, **_NOTHING})
        if number in known:
            pair = [told[1][number] for told in ranks]
            one["ranks"], one["mi"] = ([entry[key] for entry in pair] for key in ("rank", "mi"))
    rows = [maps[number] for number in sorted(maps)]
    grown = [one for one in rows if one["verdicts"] is not None]
    alike = [one["similarity"] for one in grown if one["similarity"] is not None]
    return {
        "layer": layer["layer"],
        "index": index,
        "maps": rows,
        "same_verdict": sum(one["verdicts"][0] == one["verdicts"][1] for one in grown),
        "median_similarity": float(np.median(alike)) if alike else None,
        "score_correlation": _correlation([one["scores"] for one in grown]),
        "mi_correlation": _correlation([one["mi"] for one in rows]),
        "estimator": estimator,
    }


_NOTHING = dict.fromkeys(("verdicts", "scores", "similarity", "percentile", "ranks", "mi"))


def _block(first: Oips, second: Oips, jump: list[float] | None) -> dict[int, dict[str, Any]]:
    common, rows, others = np.intersect1d(first.maps, second.maps, return_indices=True)
    if not common.size:
        return {}
    steps = shift_reach(jump, first.images.shape[2:-1])
    likeness = image_similarity(first.images[rows, 0], second.images[:, 0], steps)
    alive = [run.alive for run in (first, second)]
    found = {}
    for place, number in enumerate(common.tolist()):
        row, other = rows[place], others[place]
        both = bool(alive[0][row] and alive[1][other])
        peers = np.delete(likeness[place], other)[np.delete(alive[1], other)]
        value = float(likeness[place, other])
        enough = both and len(peers) >= _LEAST_OTHERS
        found[number] = {
            "map": number,
            **_NOTHING,
            "verdicts": [first.verdicts[row], second.verdicts[other]],
            "scores": [_plain(first.scores[row, 0]), _plain(second.scores[other, 0])],
            "similarity": value if both else None,
            "percentile": float(100.0 * np.mean(peers < value)) if enough else None,
        }
    return found


def _ranks(run: Run, index: int) -> tuple[str | None, dict[int, dict[str, Any]]]:
    """Name of the first estimator of a layer's ranking, and what it says of each map."""
    told = run.ranking(index)
    try:
        first = (told or {})["estimators"][0]
        return first["estimator"], {one["map"]: one for one in first["maps"]}
    except (KeyError, IndexError, TypeError):
        return None, {}


def _correlation(pairs: list[list[float | None] | None]) -> float | None:
    """Spearman's, over pairs of which both are known; None with fewer than 3 or without spread."""
    from scipy.stats import rankdata

    known = [pair for pair in pairs if pair is not None and None not in pair]
    if len(known) < 3:
        return None
    ranks = rankdata(np.array(known, float), axis=0)
    if not ranks.std(axis=0).all():
        return None
    return float(np.corrcoef(ranks.T)[0, 1])


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
