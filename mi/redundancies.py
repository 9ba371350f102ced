"""What the maps of a layer hold in common, pair by pair and all together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import html, seeds
from oip.core.checks import check_number, check_whole
from oip.core.errors import SettingsError, expected
from oip.core.units import bits
from oip.mi.backend import thread_map
from oip.mi.estimators.renyi_entropy import (
    Bandwidth,
    class_entropy,
    gram,
    matrix_entropy,
    renyi_label_entropy,
)
from oip.mi.estimators.renyi_pairs import Pairs, added_squares
from oip.mi.estimators.results import SATURATED
from oip.mi.layer_sample import At, LayerSample

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo

_GRAMS, _ROWS = 2 << 30, 128 << 20
_SHOWN = 20


@dataclass(frozen=True, eq=False)
class Together:
    """What growing groups of maps know together, the most informative maps first; in bits.

    With the product of all Gram matrices samples become strangers, and the numbers end at their
    ceilings whatever the maps know: from there on they say nothing.
    """

    sizes: np.ndarray
    """(g,) int: maps in the group."""
    input: np.ndarray
    """(g,): I(X; {T1, ..., TC})."""
    label: np.ndarray | None
    """(g,): I(Y; {T1, ..., TC})."""
    share: np.ndarray
    """(g,): S of the group as a share of log n."""

    @property
    def saturated(self) -> np.ndarray:
        """(g,) bool: within 2 % of log n."""
        return self.share >= SATURATED


@dataclass(frozen=True, eq=False)
class Redundancies:
    """Information of maps, of pairs of maps and of groups of maps, by Gram matrices.

    `input` and `label` hold I(.;Ti) and I(.;{Ti,Tj}) in nats with their differences; NaN for pairs
    that were not asked for. What leaves by methods is in bits.
    """

    layer: str
    index: int
    maps: np.ndarray
    """(m,) int: the rows of all arrays."""
    input: Pairs
    label: Pairs | None
    together: Together
    parameters: dict[str, Any]
    samples: int
    split: str
    at: str
    notices: tuple[str, ...] = ()

    @property
    def shared(self) -> np.ndarray:
        """(m, m) bits: redundancy less synergy about the input, I_i + I_j - I_ij.

        The diagonal is what a map shares with itself, so that two equal maps share all of it.
        """
        return bits(self.input.redundancy)

    def nearest(self, count: int = 5) -> np.ndarray:
        """(m, count) int: the maps that each shares most with, as a part of the smaller own value.

        -1 where fewer are known.
        """
        check_whole("count", count)
        alike = self._alike()
        np.fill_diagonal(alike, -np.inf)
        order = np.argsort(-alike, axis=1, kind="stable")[:, :count]
        found = np.full((len(self.maps), count), -1)
        known = np.isfinite(np.take_along_axis(alike, order, axis=1))
        found[:, : order.shape[1]] = np.where(known, self.maps[order], -1)
        return found

    def clusters(self, share: float = 0.9) -> list[np.ndarray]:
        """Groups of maps that on average share this part of their own values, the largest first.

        Average linkage; a map like no other is a group by itself. Pairs that are not known count
        as sharing nothing.

        Raises:
            SettingsError: `share` is not above 0 and up to 1.
        """
        if not 0 < share <= 1:
            raise SettingsError(expected("share", "above 0, up to 1", share))
        if len(self.maps) < 2:
            return [self.maps.copy()]
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        distance = 1.0 - np.clip(np.nan_to_num(self._alike(), neginf=0.0), 0.0, 1.0)
        np.fill_diagonal(distance, 0.0)
        tree = linkage(squareform(distance, checks=False), "average")
        found = fcluster(tree, 1.0 - share + 1e-9, "distance")
        groups = [self.maps[found == number] for number in np.unique(found)]
        return sorted(groups, key=lambda group: (-len(group), group[0]))

    def measures(self) -> list[tuple[str, str, np.ndarray]]:
        """(name, unit, (m, m) values) of every pair matrix, `shared` first."""
        found = []
        for about, pairs in (("input", self.input), ("label", self.label)):
            if pairs is None:
                continue
            joint = pairs.joint.copy()
            np.fill_diagonal(joint, pairs.single)
            found += [
                (f"redundancy less synergy about the {about}", "bits", bits(pairs.redundancy)),
                (f"joint information about the {about}", "bits", bits(joint)),
                (f"non-redundant information about the {about}", "bits", bits(pairs.non_redundant)),
                (f"redundant share about the {about}", "", pairs.share(pairs.redundancy)),
                (f"non-redundant share about the {about}", "", pairs.share(pairs.non_redundant)),
            ]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values: neighbours, clusters and groups; information in bits."""
        known = self.together
        return {
            "layer": self.layer,
            "index": self.index,
            "parameters": self.parameters,
            "unit": "bits",
            "samples": self.samples,
            "split": self.split,
            "at": self.at,
            "notices": list(self.notices),
            "maps": [
                {
                    "map": int(number),
                    "input": float(bits(self.input.single[row])),
                    "label": None if self.label is None else float(bits(self.label.single[row])),
                    "nearest": [int(other) for other in near if other >= 0],
                }
                for row, (number, near) in enumerate(zip(self.maps, self.nearest(), strict=True))
            ],
            "clusters": [group.tolist() for group in self.clusters()],
            "together": [
                {
                    "maps": int(size),
                    "input": float(known.input[place]),
                    "label": None if known.label is None else float(known.label[place]),
                    "share_of_log_n": float(known.share[place]),
                    "saturated": bool(known.saturated[place]),
                }
                for place, size in enumerate(known.sizes)
            ],
        }

    def _repr_html_(self) -> str:
        near = self.nearest(3)[:_SHOWN]
        rows = [
            (
                int(number),
                float(bits(self.input.single[place])),
                None if self.label is None else float(bits(self.label.single[place])),
                ", ".join(str(other) for other in near[place] if other >= 0),
            )
            for place, number in enumerate(self.maps[:_SHOWN])
        ]
        groups = [", ".join(map(str, group)) for group in self.clusters() if len(group) > 1]
        alike = [f"share at least 90 % on average: {group}" for group in groups[:_SHOWN]]
        headings = ("map", "bits about the input", "bits about the label", "shares most with")
        return html.block(
            f"{self.layer}: what {len(self.maps)} maps share, {self.samples} images",
            html.table(headings, rows, len(self.maps) - len(rows)),
            *(html.paragraph(text) for text in (*self.notices, *alike)),
        )

    def _alike(self) -> np.ndarray:
        """(m, m): what a pair shares, of the smaller own value; -inf where it is not known."""
        shared = self.input.redundancy
        own = np.diagonal(shared)
        smaller = np.minimum(own[:, None], own[None, :])
        known = np.isfinite(shared) & (smaller > 0)
        return np.divide(shared, smaller, out=np.full_like(shared, -np.inf), where=known)


def redundancy(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    alpha: float = 2.0,
    relative: float = 1.0,
    pairs: int | None = None,
    samples: int = 500,
    at: At = "response",
    seed: int = 0,
    split: str = "",
) -> Redundancies:
    """Redundancy and synergy of a layer's maps about the input and the label, by matrix Renyi.

    At alpha 2 all pairs are products of two matrices (maps, n^2). Other alphas need eigenvalues for
    every pair; `pairs` asks for a random sample of them.

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them.
        labels: (n,), or None: then nothing is said about the label.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        maps: map numbers; all if None.
        alpha: of the entropies; 2, or 1.01 as published.
        relative: 2 sigma^2 of the kernels as a share of the median squared distance.
        pairs: how many pairs, drawn at random; all if None.
        samples: most images that are used.
        at: the response, or the block output after the pooling that follows.
        seed: of the sample and the pairs.
        split: what the images are; shown with the result.

    Raises:
        ModelError, SettingsError: an unknown layer or map, a setting outside what it may be, Gram
            matrices of more than 2 GiB.
        DataError: images or labels that cannot be used; no map with finite responses.

    References:
        S. Yu et al.: Understanding convolutional neural networks with information theory: an
        initial exploration. IEEE TNNLS 32 (2021) 435, sections III and IV.

    Example:
        >>> found = mi.redundancy("model.keras", images, labels, "Conv2D_3")  # doctest: +SKIP
        >>> found.nearest(3), found.clusters()  # doctest: +SKIP
    """
    check_number("redundancy: alpha", alpha)
    check_number("redundancy: relative", relative)
    if pairs is not None:
        check_whole("redundancy: pairs", pairs)
    sample = LayerSample.draw(
        model_or_path,
        images,
        labels,
        layer,
        maps=maps,
        at=at,
        samples=samples,
        seed=seed,
        label_free=True,
    )
    grams, finite = layer_grams(sample, Bandwidth(relative))
    numbers, notices = sample.maps[finite], list(sample.notices)
    if not finite.all():
        notices.append(f"{(~finite).sum()} maps have responses that are not finite, left out.")
    whole, codes = gram_of_input(sample), sample.subset.codes
    if alpha == 2:
        about, label = pairs_at_two(grams, whole, codes)
    else:
        about, label = _spectra(grams, whole, codes, alpha, pairs, seed)
    return Redundancies(
        layer=sample.layer.name,
        index=sample.layer.index,
        maps=numbers,
        input=about,
        label=label,
        together=_together(grams, whole, codes, alpha, (label or about).single),
        parameters={"alpha": alpha, "relative": relative},
        samples=len(sample),
        split=split,
        at=at,
        notices=tuple(notices),
    )


def layer_grams(sample: LayerSample, width: Bandwidth) -> tuple[np.ndarray, np.ndarray]:
    """(m, n, n) float32 Gram matrices of the maps with finite responses, and which they are."""
    n, maps = len(sample), len(sample.maps)
    if 4 * maps * n * n > _GRAMS:
        most = int((_GRAMS / (4 * maps)) ** 0.5)
        raise SettingsError(
            expected("samples", f"at most {most} for {maps} maps", n, "Use fewer samples or maps.")
        )
    grams, finite = [], []
    for block in sample.responses():
        finite.append(block.finite)
        kept = [block.values[:, row] for row in np.flatnonzero(block.finite)]
        grams += thread_map(lambda one: gram(one, width).astype(np.float32), kept)
    return np.stack(grams), np.concatenate(finite)


def gram_of_input(sample: LayerSample) -> np.ndarray:
    """(n, n): Gram matrix of the images themselves, standardised, at the median distance."""
    images = sample.network.inputs.standardised(sample.images)
    return gram(images.reshape(len(images), -1), Bandwidth())


def pairs_at_two(
    grams: np.ndarray, whole: np.ndarray, codes: np.ndarray | None
) -> tuple[Pairs, Pairs | None]:
    """All pairs at alpha 2, as in `oip.mi.estimators.renyi_pairs`.

    I of two maps is ln(sum A_i^2 A_j^2 B^2 / sum A_i^2 A_j^2) less the same of constant maps, B the
    Gram matrix of what they are about.

    Args:
        grams: (m, n, n), 1 on the diagonal.
        whole: (n, n): of the input.
        codes: (n,) int: the label; None for nothing about it.
    """
    maps, n = len(grams), len(whole)
    same = np.ones((n, n), bool) if codes is None else codes[:, None] == codes[None, :]
    square = (whole * whole).astype(np.float32)
    sums = np.zeros((3, maps + 1, maps + 1))
    room = max(1, _ROWS // (4 * n * (maps + 1)))
    for start in range(0, n, room):
        rows = slice(start, min(start + room, n))
        block = np.ones((maps + 1, rows.stop - start, n), np.float32)  # the last map is constant
        np.square(grams[:, rows], out=block[:maps])
        plain, seen = added_squares(block, square[rows])
        sums[0] += plain
        sums[1] += seen
        if codes is not None:
            sums[2] += added_squares(block, same[rows])[1]
    sums = (sums + sums.swapaxes(1, 2)) / 2
    still = np.flatnonzero(np.diagonal(sums[0])[:maps] >= n * n)  # exactly as the constant map
    sums[:, still], sums[:, :, still] = sums[:, [maps]], sums[:, :, [maps]]
    whole_of, *about = np.log(sums if codes is not None else sums[:2])
    found = [one - whole_of - (one - whole_of)[maps, maps] for one in about]
    pairs = [Pairs(one[:maps, maps], one[:maps, :maps]) for one in found]
    return pairs[0], pairs[1] if codes is not None else None


def _spectra(
    grams: np.ndarray,
    whole: np.ndarray,
    codes: np.ndarray | None,
    alpha: float,
    count: int | None,
    seed: int,
) -> tuple[Pairs, Pairs | None]:
    """Pairs at any alpha; the diagonal, and `count` others drawn at random."""
    maps = len(grams)
    rows, columns = np.triu_indices(maps, 1)
    if count is not None and count < len(rows):
        drawn = seeds.generator(seed, "pairs").permutation(len(rows))[:count]
        rows, columns = rows[drawn], columns[drawn]
    own = float(matrix_entropy(whole, alpha))

    def both(joint: np.ndarray) -> tuple[float, float]:
        return _informations(joint, whole, own, codes, alpha)

    single = np.array(thread_map(lambda one: both(one.astype(np.float64)), grams))
    wanted = [*zip(range(maps), range(maps), strict=True), *zip(rows, columns, strict=True)]
    values = thread_map(
        lambda pair: both(grams[pair[0]] * grams[pair[1]].astype(np.float64)), wanted
    )
    joint = np.full((2, maps, maps), np.nan)
    for (row, column), found in zip(wanted, values, strict=True):
        joint[:, row, column] = joint[:, column, row] = found
    about = Pairs(single[:, 0], joint[0])
    return about, None if codes is None else Pairs(single[:, 1], joint[1])


def _informations(
    joint: np.ndarray, whole: np.ndarray, own: float, codes: np.ndarray | None, alpha: float
) -> tuple[float, float]:
    """I(X;T) and I(Y;T) in nats of a Gram matrix of T; the second is NaN without labels."""
    entropy = float(matrix_entropy(joint, alpha))
    about = own + entropy - float(matrix_entropy(joint * whole, alpha))
    if codes is None:
        return about, math.nan
    return about, entropy + renyi_label_entropy(codes, alpha) - class_entropy(joint, codes, alpha)


def _together(
    grams: np.ndarray,
    whole: np.ndarray,
    codes: np.ndarray | None,
    alpha: float,
    worth: np.ndarray,
) -> Together:
    """Groups of 1, 2, 4, ... and all maps."""
    order = np.argsort(-worth, kind="stable")
    sizes = sorted({min(2**power, len(order)) for power in range(len(order).bit_length() + 1)})
    own = float(matrix_entropy(whole, alpha))
    joint = np.ones(whole.shape)
    values, shares, done = [], [], 0
    for size in sizes:
        for row in order[done:size]:
            joint *= grams[row]
        done = size
        values.append(_informations(joint, whole, own, codes, alpha))
        shares.append(float(matrix_entropy(joint, alpha)) / math.log(len(whole)))
    found = bits(np.array(values))
    label = None if codes is None else found[:, 1]
    return Together(np.array(sizes), found[:, 0], label, np.array(shares))
