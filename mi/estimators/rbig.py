"""Rotation-based iterative Gaussianization: information as the sum that layers remove."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from oip.core import seeds
from oip.core.checks import check_choice, check_whole
from oip.core.records import Parameters
from oip.mi.backend import thread_map
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.density_destructor import (
    MOST_FIXED_LAYERS,
    ROTATIONS,
    SAMPLES_A_LAYER,
    Destructor,
    Rotation,
    bin_count,
    expected_sums,
    gaussian_divergence,
    gaussianized,
    gaussianizing_layers,
    sorted_entropies,
)
from oip.mi.estimators.gram import principal_components
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import Prepared, over_prepared
from oip.mi.validation import check_full_rank, check_numbers, check_varied, normal_marginals

_MOST_LAYERS = 1000
_MOST_OF_BLOCKS = 50
_FEWEST_OF_CLASS = 5
_FEW_OF_CLASS = 300
"""Samples of a class under which layers find much in it that is not there."""
_FEW = 50
"""Samples under which entropies by a histogram are chance."""
_MOST_OF_A_BIN = 0.5
"""Share of the samples in one bin of a histogram, which then shows next to nothing."""


@dataclass(frozen=True)
class Rbig(LabelEstimator):
    """Information from a Gaussianization in layers, each of marginal maps and a rotation.

    A layer removes the total correlation dT = sum_d H(before its rotation) - sum_d H(after), which
    needs entropies of single coordinates only. Then

        T(X) = sum of dT
        H(X) = sum_d H(X_d) - T(X)
        I(X;Y) = T([G_x(X), G_y(Y)]), G the Gaussianization of a block by itself
        I(X;Y) = H(X) - sum_y p_y H(X|y) with a label
        KL(P||Q) = T(G_Q(X)) + sum_d KL(G_Q(X)_d || N(0, 1)), G_Q fitted to samples of Q
        negentropy = 1/2 ln det(2 pi e S) - H(X)

    Entropies of coordinates are those of a histogram of sqrt(n) bins with Miller and Madow's
    correction. Every layer also removes chance structure, so that the sum grows without end.
    `stopping` decides when it ends:
        `fixed`: a fixed number of layers, less the mean of the same runs on permuted data: columns
        for T, rows of a block for I, labels for information about a label.
        `paper`: until 60 layers in a row gain less than a tolerance; nothing is subtracted. It ends
        early where every layer gains little, and the value is then too small.

    Good for smooth dependence in few to some tens of dimensions, n some thousands. Structure that
    is symmetric under rotations is removed slowly, since no rotation is better than another. PCA of
    two columns of one variance can only turn them to the diagonals, so every second layer turns
    them by another angle. T in bits of 5,000 samples, and with PCA in every layer: two circles .94
    of 1.12 (.62), a square turned by 22.5 degrees .28 of .37 (.10), Gaussians of correlation .3, .6
    and .9 .070, .323 and 1.198 of .068, .322 and 1.198 (.081, .338 and 1.215). A square turned to
    the diagonals itself loses: .33 of .44 (.45; 2,000 samples).

    Equal values, such as the zeros of a ReLU, count as neighbours in random order for T and I; the
    entropy of an atom is minus infinity. Of responses about a label, coordinates are made Gaussian
    one by one, equal values in random order, so that neither monotone maps of them nor ties change
    the information, and reduced to principal components, which can only lose it. With classes of
    less than some hundred samples the value is far too large and clipped at H(Y).

    The null of T is made of runs on permuted columns, as the subtracted mean is, and serves all
    data of a shape; that of I puts one of the Gaussianized blocks in new orders. For a label a
    shuffle costs as much as an estimate. So there are 19 shuffles by default, and none for the maps
    of a ranking. dT compares the coordinates before and after one and the same rotation: those
    after one layer less those after the next would telescope.

    Use it for total correlation, entropy and negentropy of some thousand samples, and for the
    density itself (`mi.Destructor`). Not for rankings of many maps, of which each costs seconds.

    Units:
        Nats inside, bits where it is shown.

    References:
        V. Laparra, G. Camps-Valls, J. Malo: Iterative Gaussianization: from ICA to random
        rotations. IEEE Transactions on Neural Networks 22 (2011) 537. J. E. Johnson et al.:
        Information theory in density destructors. ICML workshop on invertible neural networks,
        2019, eq. 7 and 8.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 3000))
        >>> both = np.stack([a, a + b], axis=1)
        >>> estimate = mi.total_correlation(both, "rbig", null=0, draws=0)
        >>> bool(abs(estimate.nats - np.log(2) / 2) < 0.05)
        True
    """

    name: ClassVar[str] = "rbig"
    name_shown: ClassVar[str] = "mutual information (Gaussianization)"
    shuffles: ClassVar[int] = 0
    alone_shuffles: ClassVar[int | None] = 19
    resamples: ClassVar[int] = 20
    map_draws: ClassVar[int] = 20

    layers: int | None = None
    """For total correlation, entropy and negentropy. If None, 15 a dimension, but no more than 150
    and than one for 20 samples: the noise of the sum grows with its terms."""
    block_layers: int | None = None
    """For each block and for both together in I(X;Y), and for divergences. If None 50, but no more
    than one for 20 samples; more of them leave less within the blocks."""
    class_layers: int = 10
    """For information about a label: few, since layers that are fitted to the few samples of a
    class find structure that is not there, more of it than is subtracted."""
    rotation: Rotation = "pca"
    stopping: Literal["fixed", "paper"] = "fixed"
    permutations: int = 6
    """Runs on permuted data whose mean is subtracted."""
    components: int = 8
    """Most principal components of responses, for information about a label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layers", "block_layers"):
            if getattr(self, name) is not None:
                check_whole(f"rbig: {name}", getattr(self, name))
        for name in ("class_layers", "permutations", "components"):
            check_whole(f"rbig: {name}", getattr(self, name))
        check_choice("rbig: rotation", self.rotation, ROTATIONS)
        check_choice("rbig: stopping", self.stopping, ("fixed", "paper"))

    @property
    def parameters(self) -> Parameters:
        """The settings that the value depends on."""
        if self.stopping == "fixed":
            default_layers = f"by dimensions and samples, {MOST_FIXED_LAYERS} at the most"
            blocks = f"by samples, {_MOST_OF_BLOCKS} at the most"
            layers = {
                "layers": self.layers or default_layers,
                "block_layers": self.block_layers or blocks,
            }
            return {**super().parameters, **layers}
        return {"rotation": self.rotation, "stopping": self.stopping, "components": self.components}

    def total_correlation(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return the sum of dT over layers; constant columns have no part in it."""
        total = self._total(_varied(x), None, seed)
        return replace(total, notices=_few_samples_notice(len(x)) + total.notices)

    def total_correlation_null(self, x: np.ndarray, shuffles: int, seed: int) -> np.ndarray:
        """See `Estimator.total_correlation_null`; the same for all x of a shape."""
        n, d = _varied(x).shape
        if self.stopping == "paper" or d < 2:
            return super().total_correlation_null(x, shuffles, seed)
        count = self._layers(n, d)
        runs = max(shuffles, self.permutations)
        chance = expected_sums(n, d, count, self.rotation, runs, seed)
        return chance[:shuffles] - chance[: self.permutations].mean()

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return sum_d H(X_d) - T(X)."""
        check_varied("rbig: x", x)
        total = self._total(x, None, seed)
        notices = _few_samples_notice(len(x)) + _crowded(x) + total.notices
        return RawEstimate(float(_entropies(x).sum()) - total.nats, notices=notices)

    def negentropy(self, x: np.ndarray, seed: int = 0) -> RawEstimate:
        """Estimate how far x is from the Gaussian of its mean and covariance: KL(X || N).

        A DataError says that x cannot be used, or that its covariance is singular.
        """
        values = check_numbers("x", x)
        check_varied("rbig: x", values)
        check_full_rank("rbig: x", values)
        log_determinant = float(np.linalg.slogdet(np.atleast_2d(np.cov(values.T)))[1])
        estimate = self.entropy(values, seed)
        gaussian = 0.5 * (values.shape[1] * math.log(2 * math.pi * math.e) + log_determinant)
        return RawEstimate(gaussian - estimate.nats, notices=estimate.notices)

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return T(G(X)) + sum_d KL(G(X)_d || N(0, 1)) with G fitted to y."""
        check_varied("rbig: y", y)
        mapped = self._destructor(self._block_layers(len(y)), seed).fit(y).transform(x)
        check_varied("rbig: x", mapped)
        total = self._total(mapped, self._block_layers(len(x)), seed)
        notices = _few_samples_notice(min(len(x), len(y))) + total.notices
        return RawEstimate(total.nats + gaussian_divergence(mapped.T), notices=notices)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return T of both blocks, each Gaussianized separately; 0 where a side is constant."""
        x, y = _varied(x), _varied(y)
        if not x.shape[1] or not y.shape[1]:
            return RawEstimate(0.0)
        if self.stopping == "paper":
            fitted = self._destructor(_MOST_LAYERS, seed).fit
            joint = np.concatenate([fitted(side).transform(side) for side in (x, y)], 1)
            total = self._total(joint, None, seed)
            return replace(total, notices=_few_samples_notice(len(x)) + total.notices)
        together, bias = self._blocks(x, y, seed)
        return RawEstimate(together(None) - bias, notices=_few_samples_notice(len(x)))

    def information_null(
        self, x: np.ndarray, y: np.ndarray, shuffles: int, seed: int
    ) -> np.ndarray:
        """See `Estimator.information_null`; the blocks are Gaussianized once."""
        x, y = _varied(x), _varied(y)
        if self.stopping == "paper" or not x.shape[1] or not y.shape[1]:
            return super().information_null(x, y, shuffles, seed)
        together, bias = self._blocks(x, y, seed)
        draw = seeds.generator(seed, "null")
        orders = [draw.permutation(len(y)) for _ in range(shuffles)]
        return np.array(thread_map(together, orders)) - bias

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`."""

        def prepare(x: np.ndarray) -> Prepared | None:
            rng = seeds.generator(samples.seed, "rbig projection")
            order = _order(x)
            ranks = np.argsort(order)
            gaussian = normal_marginals(x[order], seeds.generator(samples.seed, "rbig ties"))
            scores = principal_components(gaussian, self.components, rng).astype(np.float64)
            biases: dict[tuple[int, ...], float] = {}

            def bias(labels: np.ndarray) -> float:
                """Return the mean for shuffled labels; it depends on the sizes of classes alone."""
                sizes = tuple(np.sort(np.bincount(labels)).tolist())  # whatever they are called
                if sizes not in biases:
                    draw = seeds.generator(samples.seed, "rbig labels", *sizes)
                    classes = np.repeat(np.arange(len(sizes)), sizes)
                    mixed = [draw.permutation(classes) for _ in range(self.permutations)]
                    values = [
                        self._label_information(scores, codes, samples.seed) for codes in mixed
                    ]
                    biases[sizes] = float(np.mean(values))
                return biases[sizes]

            def information(labels: np.ndarray, indices: np.ndarray | None) -> float:
                if indices is not None:  # of a half, whose mean is moved to the estimate later
                    rows = ranks[indices]
                    inner = np.argsort(rows)
                    return self._label_information(scores[rows[inner]], labels[inner], samples.seed)
                value = self._label_information(scores, labels[order], samples.seed)
                return value - bias(labels) if self.stopping == "fixed" else value

            return Prepared(information, self._label_notices(x, samples.codes))

        return over_prepared(prepare, samples, expensive=True)

    def _label_notices(self, x: np.ndarray, codes: np.ndarray) -> tuple[str, ...]:
        notices, d = [*_few_samples_notice(len(codes))], x.shape[1]
        if d > self.components:
            notices.append(f"From {self.components} principal components of {d} coordinates.")
        fewest = int(np.bincount(codes).min())
        if fewest < _FEW_OF_CLASS and d > 1:
            notices.append(
                f"A class of {fewest} samples: with less than {_FEW_OF_CLASS} the value can be far "
                "too large."
            )
        return tuple(notices)

    def _label_information(self, x: np.ndarray, codes: np.ndarray, seed: int) -> float:
        """Return H(X) - sum_y p_y H(X|y); a class of too few samples counts as all samples do.

        Columns that are constant in these samples, such as in a half of them, add nothing.
        """
        x = _varied(x)
        if not x.shape[1]:
            return 0.0
        entropy = _entropies(x).sum() - self._label_total(x, seed)
        result = 0.0
        for code, count in enumerate(np.bincount(codes)):
            if count >= _FEWEST_OF_CLASS:
                class_samples = x[codes == code]
                class_entropy = _entropies(class_samples).sum() - self._label_total(
                    class_samples, seed
                )
                result += count / len(x) * (entropy - class_entropy)
        return float(result)

    def _label_total(self, x: np.ndarray, seed: int) -> float:
        return self._total(_varied(x), self.class_layers, seed).nats

    def _blocks(
        self, x: np.ndarray, y: np.ndarray, seed: int
    ) -> tuple[Callable[[np.ndarray | None], float], float]:
        """Return T of both blocks by the order of the second, and its mean over random orders."""
        layers = self._block_layers(len(x))
        order = _order(np.concatenate([x, y], axis=1))
        x, y = x[order], y[order]
        first, second = (
            gaussianized(side, layers, self.rotation, seeds.generator(seed, name))[1]
            for name, side in (("rbig x", x), ("rbig y", y))
        )

        def together(order: np.ndarray | None) -> float:
            joint = np.concatenate([first, second if order is None else second[order]], axis=1)
            rng = seeds.generator(seed, "rbig")
            return gaussianized(joint, layers, self.rotation, rng)[0]

        draw = seeds.generator(seed, "rbig permutations")
        orders = [draw.permutation(len(y)) for _ in range(self.permutations)]
        return together, float(np.mean(thread_map(together, orders)))

    def _total(self, x: np.ndarray, layers: int | None, seed: int) -> RawEstimate:
        """Return T of x (n, d) without constant columns; 0 for less than two columns."""
        n, d = x.shape
        if d < 2:
            return RawEstimate(0.0)
        if self.stopping == "paper":
            fitted = self._destructor(_MOST_LAYERS, seed).fit(x)
            notice = f"Not converged: the sum was cut off after {_MOST_LAYERS} layers."
            notices = () if fitted.stopped else (notice,)
            return RawEstimate(fitted.total_correlation, notices=notices)
        count = layers or self._layers(n, d)
        removed = gaussianized(x[_order(x)], count, self.rotation, seeds.generator(seed, "rbig"))[0]
        chance = expected_sums(n, d, count, self.rotation, self.permutations, seed)
        return RawEstimate(removed - float(chance.mean()))

    def _layers(self, n: int, d: int) -> int:
        return self.layers or gaussianizing_layers(n, d)

    def _block_layers(self, n: int) -> int:
        return self.block_layers or max(1, min(_MOST_OF_BLOCKS, n // SAMPLES_A_LAYER))

    def _destructor(self, layers: int, seed: int) -> Destructor:
        if self.stopping == "paper":
            layers = _MOST_LAYERS
        return Destructor(layers, self.rotation, self.stopping, seed)


def _few_samples_notice(n: int) -> tuple[str, ...]:
    """Return a notice where there are too few samples for histograms."""
    if n >= _FEW:
        return ()
    return (f"{n} samples: with fewer than {_FEW} the value is mostly chance. Use more samples.",)


def _crowded(x: np.ndarray) -> tuple[str, ...]:
    """Return a notice where one bin of a coordinate's histogram has most of the samples (n, d)."""
    bins = bin_count(len(x))
    share = max(np.histogram(column, bins)[0].max() for column in x.T) / len(x)
    if share <= _MOST_OF_A_BIN or len(x) < _FEW:
        return ()
    return (
        f"{share:.0%} of the samples are in one of {bins} bins of a coordinate: a few are far "
        "away or many are equal: the entropy is too large. Use ksg, or leave those samples out.",
    )


def _order(x: np.ndarray) -> np.ndarray:
    """Return the rows of x by size (n,), so that the order of samples does not matter."""
    return np.lexsort(x.T)


def _entropies(x: np.ndarray) -> np.ndarray:
    return sorted_entropies(np.sort(x.T, axis=1))


def _varied(x: np.ndarray) -> np.ndarray:
    return x[:, np.ptp(x, axis=0) > 0]
