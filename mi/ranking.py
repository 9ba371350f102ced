"""Which maps of a layer know most about the label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mi import labels as labelling
from mi.estimators.base import Estimator, InputEstimator, LabelEstimator
from mi.estimators.choice import able, label_estimator
from mi.estimators.results import MapEstimates, joined
from mi.estimators.threads import each
from mi.nulls import ENOUGH
from mi.ranking_result import Estimated, Ranking
from mi.responses_summary import summarise
from oip.core.errors import DataError, SettingsError, expected
from oip.core.progress import Progress, automatic

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo

DEFAULT_ESTIMATORS = ("predictive", "kde")
_POOLED_SHUFFLES = 4000
_FEWEST_SHUFFLES = 40
_BYTES = 256 << 20


class NoFiniteResponses(DataError):
    """Every map of a layer gives NaN or infinity."""


def rank(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    estimators: Sequence[str | Estimator] = DEFAULT_ESTIMATORS,
    samples: int = 2000,
    at: Literal["response", "block"] = "response",
    seed: int = 0,
    progress: Progress = automatic,
    classes: Sequence[str] | None = None,
    split: str = "",
    with_input: bool = False,
) -> Ranking:
    """Orders the maps of a layer by what their responses know about the label.

    The first estimator gives the default order. `predictive` (usable information, a held-out lower
    bound) tells maps apart that other estimators put at their ceiling, and is the default because
    its order agrees best with judges that it has never seen (`tests/benchmarks/ranking.py`).

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
        progress: is told how many maps are done.
        classes: names; the label k is shown as `classes[k]`.
        split: what the images are, such as "mnist:test"; shown with the result.
        with_input: also what each map tells of the input, by those estimators that can.

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
    from oip.network.inputs import check_images
    from oip.network.responses import map_blocks
    from oip.network.selection import map_numbers
    from oip.network.view import Network

    chosen = _chosen(estimators, with_input)
    if at not in ("response", "block"):
        raise SettingsError(expected("at", "response or block", f"'{at}'"))
    network = Network.of(model_or_path, images=images)
    info = network.find(layer) if isinstance(layer, str) else layer
    numbers = map_numbers(info, maps)
    pixels = check_images(network.inputs, images)
    known = labelling.check_labels(labels, len(pixels), classes)
    picked = labelling.stratified(known.codes, samples, seed)
    codes, places = known.codes[picked], known.kept[picked]
    size = info.size if at == "response" else info.block_size

    shuffles = max(_FEWEST_SHUFFLES, -(-_POOLED_SHUFFLES // len(numbers)))
    finite: list[np.ndarray] = []
    summaries: list[dict[str, np.ndarray]] = []
    parts: dict[str, list[MapEstimates]] = {one.name: [] for one in chosen}
    inputs: dict[str, list[np.ndarray]] = {one.name: [] for one in chosen}
    label = f"{info.name}: ranking"
    done = 0
    progress(label, done, len(numbers))
    for block, values in map_blocks(network, pixels[places], info, numbers, at, _BYTES):
        usable = np.asarray(np.isfinite(values).all(axis=(0, 2)))
        finite.append(usable)
        summaries.append(summarise(values, size or (), codes, len(known.classes), places))
        if usable.any():
            good = values if usable.all() else values[:, usable]
            for one in chosen:
                most = ENOUGH if one.cheap_null else min(shuffles, ENOUGH)
                count = most if one.shuffles else 0
                parts[one.name].append(one.over_maps(good, codes, seed, count, one.map_draws))
                if with_input and isinstance(one, InputEstimator):
                    inputs[one.name].append(_about_input(one, good, seed))
        done += len(block)
        progress(label, done, len(numbers))
    usable = np.concatenate(finite)
    if not usable.any():
        raise NoFiniteResponses(
            expected(
                f"responses of layer '{info.name}'",
                "finite numbers",
                "NaN or infinity in every map",
                "Look for NaN in the model's weights.",
            )
        )
    return Ranking(
        layer=info.name,
        index=info.index,
        maps=numbers,
        classes=known.classes,
        estimated=tuple(
            Estimated.of(
                one,
                joined(parts[one.name]).spread(usable),
                _spread(inputs[one.name], usable),
            )
            for one in chosen
        ),
        samples=len(places),
        split=split,
        at=at,
        seed=seed,
        responses={
            name: np.concatenate([summary[name] for summary in summaries]) for name in summaries[0]
        },
        notices=(*known.notices, *_unusable(numbers[~usable])),
    )


def _chosen(estimators: Sequence[str | Estimator], with_input: bool) -> list[LabelEstimator]:
    asked = [estimators] if isinstance(estimators, (str, Estimator)) else list(estimators)
    if not asked:
        raise SettingsError(expected("estimators", "at least one", "none"))
    chosen = [label_estimator(one) for one in asked]
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise SettingsError(expected("estimators", "each one once", ", ".join(names)))
    if with_input and not any(isinstance(one, InputEstimator) for one in chosen):
        able_ones = ", ".join(able(InputEstimator))
        wanted = f"one that tells of the input, of {able_ones}"
        raise SettingsError(expected("estimators", wanted, ", ".join(names)))
    return chosen


def _about_input(one: InputEstimator, values: np.ndarray, seed: int) -> np.ndarray:
    """(m,): what the responses (n, m, d) of each map tell of the input, in nats."""

    def told(place: int) -> float:
        value = one.input_information(values[:, place].astype(np.float64), seed)
        return float(np.clip(value.nats, 0.0, np.inf if value.ceiling is None else value.ceiling))

    return np.array(each(told, range(values.shape[1])))


def _spread(parts: list[np.ndarray], usable: np.ndarray) -> np.ndarray | None:
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
