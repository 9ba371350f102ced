"""Which maps of a layer to keep."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mi import importance
from mi.elimination import eliminated
from mi.estimators.base import Estimator
from mi.estimators.choice import label_estimator
from mi.estimators.renyi_gram import Width
from mi.greedy import conditional_width, relevance_less_redundancy
from mi.redundancies import gram_of_input, layer_grams, pairs_at_two
from mi.subject import At, Subject
from oip.core import notebook
from oip.core.errors import SettingsError, expected

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo

METHODS = {
    "elimination": "what the next layers lose when they are fitted again; no labels",
    "mrmr": "information about the label less redundancy with the maps chosen before",
    "mi": "information about the label, each map by itself",
    "ib": "I(X;T) - beta I(T;Y), the information bottleneck's objective",
    "cmi": "what a map adds about the label to the maps before it, until nothing is added",
    "taylor": "first-order change of the loss when the map is silenced",
    "apoz": "share of responses above 0; no labels",
    "l1": "size of the map's kernels; no data",
    "mean": "mean response; no labels",
    "random": "chance",
}
"""Name -> what counts; `mi.select` knows these."""
DEFAULT_METHOD = "elimination"
LABEL_FREE = ("elimination", "apoz", "l1", "mean", "random")
_ROWS = 20


@dataclass(frozen=True, eq=False)
class Selection:
    """The maps of a layer in the order in which they are worth keeping."""

    layer: str
    index: int
    method: str
    maps: np.ndarray
    """(m,) int: map numbers; the rows of `scores`."""
    order: np.ndarray
    """(m,) int: map numbers, the one to keep first first."""
    scores: np.ndarray
    """(m,): what the method counts, larger for maps to keep; what it added for greedy methods."""
    width: int | None = None
    """Maps that are enough, where the method tells; None where it does not or cannot."""
    notices: tuple[str, ...] = ()

    def keep(self, share: float) -> np.ndarray:
        """Sorted numbers of the maps to keep, one at least.

        Args:
            share: of the maps, above 0 and up to 1.

        Raises:
            SettingsError: another share.

        Example:
            >>> selection.keep(0.5)  # doctest: +SKIP
        """
        check_share(share)
        return np.sort(self.order[: kept_of(len(self.order), share)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "layer": self.layer,
            "index": self.index,
            "method": self.method,
            "order": self.order.tolist(),
            "scores": [
                {"map": int(number), "score": float(score) if math.isfinite(score) else None}
                for number, score in zip(self.maps, self.scores, strict=True)
            ],
            "width": self.width,
            "notices": list(self.notices),
        }

    def _repr_html_(self) -> str:
        scores = dict(zip(self.maps.tolist(), self.scores.tolist(), strict=True))
        rows = [
            (place, number, float(scores[number]))
            for place, number in enumerate(self.order[:_ROWS].tolist(), 1)
        ]
        told = [f"enough: the first {self.width}"] if self.width is not None else []
        return notebook.block(
            f"{self.layer}: {len(self.maps)} maps, those to keep first first ({self.method})",
            *(notebook.paragraph(text) for text in (*told, *self.notices)),
            notebook.table(("place", "map", "counts"), rows, len(self.maps) - len(rows)),
        )


def select(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
    layer: str | LayerInfo,
    *,
    method: str = DEFAULT_METHOD,
    maps: str | Iterable[int] | int | None = None,
    samples: int = 500,
    at: At = "response",
    estimator: str | Estimator = "decoder",
    beta: float = 2.0,
    alpha: float = 2.0,
    seed: int = 0,
) -> Selection:
    """Orders the maps of a layer by how much is lost without them.

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them; not those it is judged by.
        labels: (n,); None for methods that need none.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        method: one of `METHODS`.
        maps: those to order; all if None.
        samples: most images that are used; `elimination` uses up to twenty times as many where
            the next kernel has many inputs.
        at: the response, or the block output after the pooling that follows.
        estimator: of `mi`.
        beta: of `ib`.
        alpha: of the entropies of `cmi`.
        seed: of the sample, shuffles and chance.

    Raises:
        ModelError, SettingsError: an unknown layer, map, method, or one that cannot be used here.
        DataError: images or labels that cannot be used; no labels where the method needs them.

    Example:
        >>> mi.select("model.keras", images, labels, "Conv2D_3").keep(0.5)  # doctest: +SKIP
    """
    check_method(method)
    if not (isinstance(beta, (int, float)) and math.isfinite(beta) and beta >= 0):
        raise SettingsError(expected("beta", "a number from 0", beta))
    label_free = method in LABEL_FREE
    subject = Subject.of(
        model_or_path,
        images,
        None if label_free else labels,
        layer,
        maps=maps,
        samples=20 * samples if method == "elimination" else samples,
        seed=seed,
    )
    if not label_free:
        subject.known_codes()
    width: int | None = None
    notices = subject.notices
    if method == "elimination":
        order, scores = eliminated(subject)
    elif method in ("mrmr", "ib", "cmi"):
        rows, order, scores, width, told = _by_grams(subject, method, at, beta, alpha, seed)
        notices = (*notices, *told)
        every = np.full(len(subject.maps), -np.inf)
        every[rows] = scores
        order, scores = np.concatenate([rows[order], np.flatnonzero(every == -np.inf)]), every
    else:
        scores = _scores(subject, method, at, label_estimator(estimator), labels, seed)
        scores = np.where(np.isfinite(scores), scores, -np.inf)
        order = np.argsort(-scores, kind="stable")
    return Selection(
        layer=subject.info.name,
        index=subject.info.index,
        method=method,
        maps=subject.maps,
        order=subject.maps[order],
        scores=scores,
        width=width,
        notices=notices,
    )


def check_method(method: str) -> None:
    """Raises SettingsError for what is no method; the message names what there is."""
    if method not in METHODS:
        near = difflib.get_close_matches(str(method), list(METHODS), 1)
        hint = f"Did you mean '{near[0]}'?" if near else ""
        raise SettingsError(expected("method", ", ".join(METHODS), f"'{method}'", hint))


def check_share(share: float) -> None:
    """Raises SettingsError for what is no share of the maps to keep."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise SettingsError(expected("keep", "a share above 0, up to 1", share))


def kept_of(count: int, share: float) -> int:
    """How many of so many maps a share is: one at least."""
    return max(1, round(share * count))


def _by_grams(
    subject: Subject, method: str, at: At, beta: float, alpha: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int | None, tuple[str, ...]]:
    """Rows with finite responses, their order and scores, a width, notices."""
    codes = subject.known_codes()
    grams, finite = layer_grams(subject, at, Width())
    rows = np.flatnonzero(finite)
    if method == "cmi":
        found = conditional_width(grams, codes, alpha, seed)
        return rows, found.order, found.scores, found.width, found.notices
    about, label = pairs_at_two(grams, gram_of_input(subject), codes)
    if method == "ib" or label is None:
        known = about.single if label is None else label.single
        scores = beta * known - about.single
        return rows, np.argsort(-scores, kind="stable"), scores, None, ()
    order, scores = relevance_less_redundancy(label)
    return rows, order, scores, None, ()


def _scores(
    subject: Subject, method: str, at: At, estimator: Any, labels: Any, seed: int
) -> np.ndarray:
    if method == "apoz":
        return importance.active(subject, at)
    if method == "mean":
        return importance.mean_response(subject, at)
    if method == "l1":
        return importance.kernel_size(subject)
    if method == "taylor":
        return importance.taylor(subject, labels)
    if method == "random":
        return importance.random_numbers(subject, seed)
    codes = subject.known_codes()
    found = []
    for _, values in subject.responses(at):
        finite = np.asarray(np.isfinite(values).all(axis=(0, 2)))
        part = np.full(len(finite), -np.inf)
        if finite.any():
            part[finite] = estimator.over_maps(values[:, finite], codes, seed).raw
        found.append(part)
    return np.concatenate(found)
