"""Rankings: how much each map of a layer knows about the label, by one estimator or several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import SettingsError, expected
from oip.core.progress import Progress, automatic
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator, able, label_estimator
from oip.mi.estimators.results import MapEstimates, join_blocks
from oip.mi.layer_sample import BYTE_BUDGET, At, LayerSample
from oip.mi.permutation_test import ENOUGH
from oip.mi.ranking_result import EstimatorRanking, Ranking

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

DEFAULT_ESTIMATORS = ("predictive", "kde")
BEST = 9
"""Images that are kept of each map, those that excite it most."""
BINS = 24
"""Of the histograms of responses."""
_POOLED_SHUFFLES = 4000
_FEWEST_SHUFFLES = 40


def rank(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike | None,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    estimators: Sequence[str | Estimator] = DEFAULT_ESTIMATORS,
    samples: int = 2000,
    at: At = "response",
    seed: int = 0,
    progress: Progress = automatic,
    classes: Sequence[str] | None = None,
    split: str = "",
    with_input: bool = False,
    byte_budget: int = BYTE_BUDGET,
) -> Ranking:
    """Order the maps of a layer by the information of their responses about the label.

    The first estimator gives the default order. `predictive` (usable information, a held-out lower
    bound) orders maps that other estimators put at their ceiling, and is the default because its
    order agrees best with judges that it has never seen (`tests/benchmarks/ranking.py`).

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them.
        labels: (n,) whole numbers, booleans or strings, or one-hot rows.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        maps: map numbers; all if None.
        estimators: names, or estimators with parameters of their own.
        samples: most images that are used, in the shares of their classes.
        at: the response after its activation, or the block output after the pooling that follows.
        seed: of the subsample, the folds and the shuffles.
        progress: is called with the number of maps done.
        classes: names; the label k is shown as `classes[k]`.
        split: name of the images, such as "mnist:test"; shown with the result.
        with_input: also estimate the information about the input, by those estimators that can.
        byte_budget: for the responses that are in memory at a time.

    Returns:
        The ranking, in bits wherever it is shown, with the images that excite each map.

    Raises:
        ModelError, SettingsError: an unknown layer, map, estimator or parameter.
        DataError: images or labels that cannot be used.
        NoFiniteResponses: no map of the layer has finite responses.

    Example:
        >>> ranking = mi.rank("model.keras", images, labels, "Conv2D_3")  # doctest: +SKIP
        >>> ranking.to_pandas().head()  # doctest: +SKIP
    """
    chosen = _chosen(estimators, with_input)
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, at=at, seed=seed)
    sample = sample.draw(labels, samples, classes)
    finite: list[np.ndarray] = []
    summaries: list[dict[str, np.ndarray]] = []
    parts: list[list[MapEstimates]] = [[] for _ in chosen]
    input_parts: list[list[np.ndarray]] = [[] for _ in chosen]
    for block in sample.responses(byte_budget, progress, "ranking"):
        finite.append(block.finite)
        summaries.append(
            summarize_responses(
                block.values, sample.size, sample.codes, len(sample.classes), sample.indices
            )
        )
        if not block.finite.any():
            continue
        values = block.values if block.finite.all() else block.values[:, block.finite]
        for estimator, estimates, about_input in zip(chosen, parts, input_parts, strict=True):
            shuffles = _shuffles(estimator, len(sample.maps))
            draws = estimator.map_draws
            estimates.append(estimator.over_maps(values, sample.codes, seed, shuffles, draws))
            if with_input and estimator.can("input_information"):
                about_input.append(_input_information(estimator, values, seed))
    usable = np.concatenate(finite)
    return Ranking(
        layer=sample.layer.name,
        index=sample.layer.index,
        maps=sample.maps,
        classes=sample.classes,
        estimators=tuple(
            EstimatorRanking.of(
                estimator, join_blocks(estimates).spread(usable), _spread(about_input, usable)
            )
            for estimator, estimates, about_input in zip(chosen, parts, input_parts, strict=True)
        ),
        samples=len(sample),
        split=split,
        at=at,
        seed=seed,
        responses={
            name: np.concatenate([summary[name] for summary in summaries]) for name in summaries[0]
        },
        notices=(*sample.notices, *_unusable(sample.maps[~usable])),
    )


def _chosen(estimators: Sequence[str | Estimator], with_input: bool) -> list[LabelEstimator]:
    """Return the estimators of these names, each once, one about the input among them if asked."""
    requested = [estimators] if isinstance(estimators, (str, Estimator)) else list(estimators)
    if not requested:
        raise SettingsError(expected("estimators", "at least one", "none"))
    chosen = [label_estimator(estimator) for estimator in requested]
    names = [estimator.name for estimator in chosen]
    if len(set(names)) < len(names):
        raise SettingsError(expected("estimators", "each one once", ", ".join(names)))
    if with_input and not any(estimator.can("input_information") for estimator in chosen):
        listed = ", ".join(able("input_information"))
        raise SettingsError(
            expected("estimators", f"one about the input, of {listed}", ", ".join(names))
        )
    return chosen


def _shuffles(estimator: LabelEstimator, maps: int) -> int:
    """Return how often labels are shuffled: nulls are pooled where a thousand are expensive."""
    if not estimator.shuffles:
        return 0
    pooled = max(_FEWEST_SHUFFLES, -(-_POOLED_SHUFFLES // maps))
    return ENOUGH if estimator.abilities.cheap_null else min(pooled, ENOUGH)


def _input_information(estimator: Estimator, values: np.ndarray, seed: int) -> np.ndarray:
    """Return (m,) nats of the responses (n, m, d) of each map about the input."""

    def information(row: int) -> float:
        raw = estimator.input_information(values[:, row].astype(np.float64), seed)
        return float(np.clip(raw.nats, 0.0, np.inf if raw.ceiling is None else raw.ceiling))

    return np.array(thread_map(information, range(values.shape[1])))


def _spread(parts: list[np.ndarray], usable: np.ndarray) -> np.ndarray | None:
    """Return the values of the usable maps among all maps, NaN for the others."""
    if not parts:
        return None
    result = np.full(len(usable), np.nan)
    result[usable] = np.concatenate(parts)
    return result


def _unusable(maps: np.ndarray) -> list[str]:
    if not maps.size:
        return []
    listed = ", ".join(str(number) for number in maps[:8]) + (", ..." if maps.size > 8 else "")
    return [f"{maps.size} maps have responses that are not finite and rank last: {listed}."]


def summarize_responses(
    values: np.ndarray, size: tuple[int, ...], codes: np.ndarray, classes: int, indices: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the best images and the histograms of some maps, from their responses (n, m, d).

    An image excites a map if the spatial mean of the map's response to it is above 0. `size` has
    the nodes along each spatial axis, `codes` (n,) and `indices` (n,) the class of each image and
    its index among those given by the user.

    Returns:
        The arrays of `ResponsesFile` but `maps`. A map with responses that are not finite has no
        best images, NaN edges, an empty histogram and NaN as its share of exciting images.
    """
    maps = values.shape[1]
    means = values.mean(axis=2, dtype=np.float64)
    shape = (1, *size) if len(size) == 1 else size
    result = {
        "best_images": np.full((maps, BEST), -1, np.int64),
        "best_scores": np.full((maps, BEST), np.nan, np.float32),
        "best_positions": np.full((maps, BEST, 2), -1, np.int32),
        "edges": np.full((maps, BINS + 1), np.nan, np.float32),
        "histogram": np.zeros((maps, classes, BINS), np.int32),
        "active": np.full(maps, np.nan, np.float32),
    }
    for row in range(maps):
        scores = means[:, row]
        if not np.isfinite(scores).all():
            continue
        best = np.argsort(-scores, kind="stable")[:BEST]
        best = best[scores[best] > 0]
        strongest = np.unravel_index(values[best, row].argmax(axis=1), shape)
        result["best_images"][row, : len(best)] = indices[best]
        result["best_scores"][row, : len(best)] = scores[best]
        result["best_positions"][row, : len(best)] = np.stack(strongest[-2:], axis=1)
        edges = np.linspace(scores.min(), scores.max(), BINS + 1)
        if edges[0] == edges[-1]:
            edges = edges[0] + np.linspace(0.0, max(1.0, abs(edges[0])), BINS + 1)
        bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
        np.add.at(result["histogram"][row], (codes, bins), 1)
        result["edges"][row] = edges
        result["active"][row] = (scores > 0).mean()
    return result
