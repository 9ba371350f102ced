"""Redundancy and synergy of the maps of a layer: pair by pair, and in groups."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core import html, seeds
from oip.core.checks import check_number, check_whole
from oip.core.errors import SettingsError
from oip.core.layer_formats import (
    JointInformation,
    MapRedundancy,
    RedundancyArrays,
    RedundancyFile,
)
from oip.core.units import bits, finite_or_none, three_best
from oip.mi.backend import thread_map
from oip.mi.estimators.gram import Bandwidth, gram
from oip.mi.estimators.renyi import (
    Pairs,
    added_squares,
    class_entropy,
    matrix_entropy,
    renyi_label_entropy,
)
from oip.mi.estimators.results import SATURATED
from oip.mi.layer_sample import At, LayerResult, LayerSample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pandas import DataFrame

    from oip.core.files import Json
    from oip.core.records import Parameters
    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

_GRAM_BYTES = 2 << 30
"""Gram matrices of all maps of a layer, at most."""
_ROW_BYTES = 128 << 20
"""Rows of Gram matrices that are in memory at a time."""
_ROWS = 20


@dataclass(frozen=True, eq=False)
class GroupInformation:
    """Information of growing groups of maps, the most informative maps first; in bits.

    With the product of all Gram matrices all samples become dissimilar, and the numbers end at
    their ceilings whatever the maps know: from there on they say nothing.
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


class PairMeasure(NamedTuple):
    """A number for every pair of maps."""

    name: str
    unit: str
    """`bits`, or nothing for a share."""
    values: np.ndarray
    """(m, m), symmetric; a map's own value is on the diagonal."""


@dataclass(frozen=True, eq=False)
class Redundancies(LayerResult):
    """Information of maps, of pairs of maps and of groups of maps, by Gram matrices.

    `input` and `label` hold I(.;Ti) and I(.;{Ti,Tj}) in nats with their differences; NaN for pairs
    that were not requested. All methods return bits.
    """

    input: Pairs
    label: Pairs | None
    together: GroupInformation
    parameters: Parameters
    samples: int
    split: str
    at: str
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        rows = np.argsort(-self.input.single, kind="stable")
        best = three_best(self.maps[rows], bits(self.input.single[rows]), "bits")
        return (
            f"Redundancies({self.layer}: {self._counted}, {self.samples} images; "
            f"most about the input: {self.noun} {best})"
        )

    @property
    def shared(self) -> np.ndarray:
        """(m, m) bits: redundancy less synergy about the input, I_i + I_j - I_ij.

        The diagonal is what a map shares with itself, so that two equal maps share all of it.
        """
        return bits(self.input.redundancy)

    def nearest(self, count: int = 5) -> np.ndarray:
        """Return (m, count) int: the maps that each shares most with, -1 where fewer are known.

        Counted as a share of the smaller own value.
        """
        check_whole("count", count)
        share = self._shares()
        np.fill_diagonal(share, -np.inf)
        order = np.argsort(-share, axis=1, kind="stable")[:, :count]
        result = np.full((len(self), count), -1)
        finite = np.isfinite(np.take_along_axis(share, order, axis=1))
        result[:, : order.shape[1]] = np.where(finite, self.maps[order], -1)
        return result

    def clusters(self, share: float = 0.9) -> list[np.ndarray]:
        """Return groups of maps (k,) int that on average share this part of their own values.

        By average linkage, the largest group first; a map like no other is a group by itself. Pairs
        that are not known count as sharing nothing.
        """
        if not 0 < share <= 1:
            raise SettingsError("share", "above 0, up to 1", share)
        if len(self) < 2:
            return [self.maps.copy()]
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        distance = 1.0 - np.clip(np.nan_to_num(self._shares(), neginf=0.0), 0.0, 1.0)
        np.fill_diagonal(distance, 0.0)
        tree = linkage(squareform(distance, checks=False), "average")
        members = fcluster(tree, 1.0 - share + 1e-9, "distance")
        groups = [self.maps[members == cluster] for cluster in np.unique(members)]
        return sorted(groups, key=lambda group: (-len(group), group[0]))

    def measures(self) -> list[PairMeasure]:
        """Return the measures of all pairs, that of `shared` first."""
        measures = []
        for about, pairs in (("input", self.input), ("label", self.label)):
            if pairs is None:
                continue
            joint, redundant, non_redundant = (
                pairs.joint.copy(),
                pairs.redundancy,
                pairs.non_redundant,
            )
            np.fill_diagonal(joint, pairs.single)
            measures += [
                PairMeasure(f"{name} about the {about}", unit, values)
                for name, unit, values in (
                    ("redundancy less synergy", "bits", bits(redundant)),
                    ("joint information", "bits", bits(joint)),
                    ("non-redundant information", "bits", bits(non_redundant)),
                    ("redundant share", "", pairs.share(redundant)),
                    ("non-redundant share", "", pairs.share(non_redundant)),
                )
            ]
        return measures

    def to_arrays(self) -> RedundancyArrays:
        """Return the content of `redundancy.npz`."""
        names, units, pairs = zip(*self.measures(), strict=True)
        return RedundancyArrays(
            maps=self.maps.astype(np.int64),
            names=np.array(names),
            units=np.array(units),
            pairs=np.stack(pairs).astype(np.float32),
        )

    def to_file(self, key: str = "") -> RedundancyFile:
        """Return the content of `redundancy.json`: neighbors, clusters and groups."""
        groups = self.together
        about_label = None if self.label is None else self.label.single
        return RedundancyFile(
            key=key,
            layer=self.layer,
            index=self.index,
            parameters=self.parameters,
            unit="bits",
            samples=self.samples,
            split=self.split,
            at=self.at,
            notices=list(self.notices),
            maps=[
                MapRedundancy(
                    map=int(map_index),
                    input=float(bits(self.input.single[row])),
                    label=None if about_label is None else finite_or_none(bits(about_label[row])),
                    nearest=[int(other) for other in neighbors if other >= 0],
                )
                for row, (map_index, neighbors) in enumerate(
                    zip(self.maps, self.nearest(), strict=True)
                )
            ],
            clusters=[group.tolist() for group in self.clusters()],
            together=[
                JointInformation(
                    maps=int(size),
                    input=float(groups.input[row]),
                    label=None if groups.label is None else float(groups.label[row]),
                    share_of_log_n=float(groups.share[row]),
                    saturated=bool(groups.saturated[row]),
                )
                for row, size in enumerate(groups.sizes)
            ],
        )

    def to_dict(self) -> dict[str, Json]:
        """Return plain values: neighbors, clusters and groups; information in bits."""
        return self.to_file().public_dict()

    def to_pandas(self) -> DataFrame:
        """Return a row for each map: information in bits, and the map it shares most with."""
        import pandas

        return pandas.DataFrame(
            {
                "layer": self.layer,
                "map": self.maps,
                "input": bits(self.input.single),
                "label": None if self.label is None else bits(self.label.single),
                "nearest": self.nearest(1)[:, 0],
            }
        )

    def _repr_html_(self) -> str:
        nearest_texts = [
            ", ".join(str(other) for other in row if other >= 0) for row in self.nearest(3)
        ]
        groups = [", ".join(map(str, group)) for group in self.clusters() if len(group) > 1]
        group_texts = [f"share at least 90 % on average: {group}" for group in groups[:_ROWS]]
        headings = {
            "map": self.noun,
            "input": "bits about the input",
            "label": "bits about the label",
        }
        headings["nearest"] = "shares most with"
        return html.block(
            f"{self.layer}: shared information of {self._counted}, {self.samples} images",
            html.frame(self.to_pandas().assign(nearest=nearest_texts), headings, _ROWS),
            *(html.paragraph(text) for text in (*self.notices, *group_texts)),
        )

    def _shares(self) -> np.ndarray:
        """Return (m, m): what a pair shares, of the smaller own value; -inf where unknown."""
        shared = self.input.redundancy
        diagonal = np.diagonal(shared)
        smaller = np.minimum(diagonal[:, None], diagonal[None, :])
        defined = np.isfinite(shared) & (smaller > 0)
        return np.divide(shared, smaller, out=np.full_like(shared, -np.inf), where=defined)


def redundancy(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike | None,
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
    """Estimate redundancy and synergy of a layer's maps about input and label, by matrix Renyi.

    At alpha 2 all pairs are products of two matrices (maps, n^2). Other alphas need eigenvalues for
    every pair; `pairs` limits them to a random sample.

    Args:
        model_or_path, images, layer, maps, samples, at, split: as for `mi.rank`.
        labels: (n,), or None: then nothing is estimated about the label.
        alpha: of the entropies; 2, or 1.01 as published.
        relative: 2 sigma^2 of the kernels as a share of the median squared distance.
        pairs: number of pairs, drawn at random; all if None.
        seed: of the sample and the pairs.

    Raises:
        ModelError, SettingsError: an unknown layer or map, a setting outside its range, Gram
            matrices of more than 2 GiB.
        DataError: images or labels that cannot be used; no map with finite responses.

    References:
        S. Yu et al.: Understanding convolutional neural networks with information theory: an
        initial exploration. IEEE TNNLS 32 (2021) 435, sections III and IV.

    Example:
        >>> result = mi.redundancy("model.keras", images, labels, "Conv2D_3")  # doctest: +SKIP
        >>> result.nearest(3), result.clusters()  # doctest: +SKIP
    """
    check_number("redundancy: alpha", alpha)
    check_number("redundancy: relative", relative)
    if pairs is not None:
        check_whole("redundancy: pairs", pairs)
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, at=at, seed=seed)
    sample = sample.draw(labels, samples, label_free=True)
    grams, finite = layer_grams(sample, Bandwidth(relative))
    notices = list(sample.notices)
    if not finite.all():
        notices.append(f"{(~finite).sum()} maps have responses that are not finite, left out.")
    context = _Context(gram_of_input(sample), sample.subset.codes, alpha)
    if alpha == 2:
        about_input, about_label = pairs_at_two(grams, context.input_gram, context.codes)
    else:
        about_input, about_label = _spectra(grams, context, pairs, seed)
    order = np.argsort(-(about_label or about_input).single, kind="stable")
    return Redundancies(
        layer=sample.layer.name,
        index=sample.layer.index,
        noun=sample.layer.noun,
        maps=sample.maps[finite],
        input=about_input,
        label=about_label,
        together=_groups(grams, order, context),
        parameters={"alpha": alpha, "relative": relative},
        samples=len(sample),
        split=split,
        at=at,
        notices=tuple(notices),
    )


def layer_grams(sample: LayerSample, width: Bandwidth) -> tuple[np.ndarray, np.ndarray]:
    """Return (k, n, n) float32 Gram matrices of the finite maps, and (m,) bool: which these are.

    Raises SettingsError for more than 2 GiB of them, NoFiniteResponses where there is no such map.
    """
    n, maps = len(sample), len(sample.maps)
    if 4 * maps * n * n > _GRAM_BYTES:
        expected = f"at most {int((_GRAM_BYTES / (4 * maps)) ** 0.5)} for {maps} maps"
        raise SettingsError("samples", expected, n, "Use fewer samples or maps.")
    grams, finite = [], []
    for block in sample.responses():
        finite.append(block.finite)
        responses = [block.values[:, row] for row in np.flatnonzero(block.finite)]
        grams += thread_map(lambda values: gram(values, width).astype(np.float32), responses)
    return np.stack(grams), np.concatenate(finite)


def gram_of_input(sample: LayerSample) -> np.ndarray:
    """Return the (n, n) Gram matrix of the images, standardized, at the median distance."""
    images = sample.network.inputs.standardized(sample.images)
    return gram(images.reshape(len(images), -1), Bandwidth())


def pairs_at_two(
    grams: np.ndarray, input_gram: np.ndarray, codes: np.ndarray | None
) -> tuple[Pairs, Pairs | None]:
    """Return all pairs about input and label (None without codes) at alpha 2, see `Renyi.pairs`.

    I of two maps is ln(sum A_i^2 A_j^2 B^2 / sum A_i^2 A_j^2) less the same of constant maps, A the
    Gram matrices (m, n, n) and B that of what they are about.
    """
    maps, n = len(grams), len(input_gram)
    mask = np.ones((n, n), bool) if codes is None else codes[:, None] == codes[None, :]
    square = (input_gram * input_gram).astype(np.float32)
    sums = np.zeros((3, maps + 1, maps + 1))  # plain, with the input, with the label
    room = max(1, _ROW_BYTES // (4 * n * (maps + 1)))
    for start in range(0, n, room):
        rows = slice(start, min(start + room, n))
        block = np.ones((maps + 1, rows.stop - start, n), np.float32)  # the last map is constant
        np.square(grams[:, rows], out=block[:maps])
        plain, with_input = added_squares(block, square[rows])
        sums[0] += plain
        sums[1] += with_input
        if codes is not None:
            sums[2] += added_squares(block, mask[rows])[1]
    sums = (sums + sums.swapaxes(1, 2)) / 2
    constant = np.flatnonzero(np.diagonal(sums[0])[:maps] >= n * n)  # exactly as the constant map
    sums[:, constant], sums[:, :, constant] = sums[:, [maps]], sums[:, :, [maps]]
    plain_log, *logs = np.log(sums if codes is not None else sums[:2])
    values = [log - plain_log - (log - plain_log)[maps, maps] for log in logs]
    pairs = [Pairs(value[:maps, maps], value[:maps, :maps]) for value in values]
    return pairs[0], pairs[1] if codes is not None else None


class _Context:
    """The input and the label of one layer's maps, by their Gram matrices."""

    def __init__(self, input_gram: np.ndarray, codes: np.ndarray | None, alpha: float):
        self.input_gram, self.codes, self.alpha = input_gram, codes, alpha
        self._input_entropy = self.entropy(input_gram)

    def entropy(self, matrix: np.ndarray) -> float:
        """Return S(A)."""
        return float(matrix_entropy(matrix, self.alpha))

    def informations(self, joint: np.ndarray) -> tuple[float, float]:
        """Return I(X;T) and I(Y;T) in nats of a Gram matrix of T; the second NaN without labels."""
        entropy = self.entropy(joint)
        about_input = self._input_entropy + entropy - self.entropy(joint * self.input_gram)
        if self.codes is None:
            return about_input, math.nan
        label = renyi_label_entropy(self.codes, self.alpha)
        return about_input, entropy + label - float(class_entropy(joint, self.codes, self.alpha))


def _spectra(
    grams: np.ndarray, context: _Context, count: int | None, seed: int
) -> tuple[Pairs, Pairs | None]:
    """Return pairs at any alpha: the diagonal, and `count` others drawn at random."""
    maps = len(grams)
    rows, columns = np.triu_indices(maps, 1)
    if count is not None and count < len(rows):
        selection = seeds.generator(seed, "pairs").permutation(len(rows))[:count]
        rows, columns = rows[selection], columns[selection]

    def of_pair(pair: tuple[int, int]) -> tuple[float, float]:
        return context.informations(grams[pair[0]] * grams[pair[1]].astype(np.float64))

    alone = thread_map(lambda matrix: context.informations(matrix.astype(np.float64)), grams)
    single = np.array(alone)
    pairs = [*zip(range(maps), range(maps), strict=True), *zip(rows, columns, strict=True)]
    joint = np.full((2, maps, maps), np.nan)
    for (row, column), values in zip(pairs, thread_map(of_pair, pairs), strict=True):
        joint[:, row, column] = joint[:, column, row] = values
    about_input = Pairs(single[:, 0], joint[0])
    return about_input, None if context.codes is None else Pairs(single[:, 1], joint[1])


def _groups(grams: np.ndarray, order: np.ndarray, context: _Context) -> GroupInformation:
    """Return the information of the first 1, 2, 4, ... and all maps in an order of rows."""
    maps = len(order)
    sizes = sorted({min(2**power, maps) for power in range(maps.bit_length() + 1)})
    joint = np.ones(context.input_gram.shape)
    values, shares, joined = [], [], 0
    for size in sizes:
        for row in order[joined:size]:
            joint *= grams[row]
        joined = size
        values.append(context.informations(joint))
        shares.append(context.entropy(joint) / math.log(len(joint)))
    result = bits(np.array(values))
    label = None if context.codes is None else result[:, 1]
    return GroupInformation(np.array(sizes), result[:, 0], label, np.array(shares))
