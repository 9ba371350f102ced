"""Neural estimators: a critic is trained, and a bound is read off held-out pairs.

The bounds are variational ones of information, in nats, from a critic's scores f (b, b) of b pairs:
f[i, i] of x_i with its own y_i, f[i, j] of x_i with the y of another pair, which stands for an
independent one. Each has two forms: an objective in TensorFlow whose gradient trains the critic,
and a value in NumPy.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.checks import check_choice, check_number, check_whole
from oip.core.errors import DataError
from oip.core.frameworks import Tensor, keras, tf
from oip.mi.backend import MEMORY_BUDGET
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import Prepared, over_prepared
from oip.mi.validation import one_hot

_NOTHING = -1e9


def donsker_varadhan(scores: np.ndarray, clip: float | None = None) -> float:
    """Return E_p[f] - ln E_q[exp f] of scores (b, b), b 2 or more.

    With `clip`, f under the logarithm is limited to -tau and tau (SMILE), which bounds the variance
    and makes it a bound no longer.
    """
    joint, mixed = _split(scores)
    if clip is not None:
        mixed = np.clip(mixed, -clip, clip)
    return float(joint.mean() - _log_mean_exp(mixed))


def nwj(scores: np.ndarray) -> float:
    """Return E_p[f] - E_q[exp(f - 1)]."""
    joint, mixed = _split(scores)
    return float(joint.mean() - math.exp(_log_mean_exp(mixed) - 1.0))


def infonce(scores: np.ndarray) -> float:
    """Return E[f_ii - ln mean_j exp f_ij]; at most ln b."""
    return float((np.diagonal(scores) - _log_mean_exp(scores, 1)).mean())


def mine_objective(scores: Tensor, average: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Return the objective of MINE, and the moving average of E_q[exp f], of which a share is kept.

    The gradient of the logarithm is divided by the moving average (0 before the first step) in
    place of the batch's own mean, whose reciprocal is biased.
    """
    split = _split_tensor(scores)
    mean = tf.reduce_sum(tf.exp(split.mixed)) / split.pairs
    fresh = tf.stop_gradient(mean)
    moved = tf.where(average > 0, keep * average + (1 - keep) * fresh, fresh)
    return tf.reduce_mean(split.own_pairs) - mean / moved, moved


def nwj_objective(scores: Tensor) -> Tensor:
    """Return E_p[f] - E_q[exp(f - 1)]."""
    split = _split_tensor(scores)
    return tf.reduce_mean(split.own_pairs) - tf.reduce_sum(tf.exp(split.mixed - 1.0)) / split.pairs


def infonce_objective(scores: Tensor) -> Tensor:
    """Return E[f_ii - ln sum_j exp f_ij]."""
    joint = tf.linalg.diag_part(scores)
    return tf.reduce_mean(joint - tf.reduce_logsumexp(scores, axis=1))


def jensen_shannon_objective(scores: Tensor) -> Tensor:
    """Return E_p[-softplus(-f)] - E_q[softplus f], best for the log-ratio of the densities."""
    split = _split_tensor(scores)
    of_mixed = tf.reduce_sum(tf.nn.softplus(split.mixed)) / split.pairs
    return -tf.reduce_mean(tf.nn.softplus(-split.own_pairs)) - of_mixed


def _split(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (b,) of own pairs, and those (b (b - 1),) of mixed pairs."""
    return np.diagonal(scores), scores[~np.eye(len(scores), dtype=bool)]


class _Scores(NamedTuple):
    own_pairs: Tensor
    """(b,): of own pairs."""
    mixed: Tensor
    """(b, b): of all pairs, those of own pairs made too low to count."""
    pairs: Tensor
    """The number of mixed pairs."""


def _split_tensor(scores: Tensor) -> _Scores:
    joint = tf.linalg.diag_part(scores)
    size = tf.cast(tf.shape(scores)[0], scores.dtype)
    excluded = tf.fill(tf.shape(joint), tf.cast(_NOTHING, scores.dtype))
    return _Scores(joint, tf.linalg.set_diag(scores, excluded), size * (size - 1))


def _log_mean_exp(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    from scipy.special import logsumexp

    count = values.size if axis is None else values.shape[axis]
    return logsumexp(values, axis=axis) - math.log(count)


Kind = Literal["separable", "joint"]
Samples = tuple[np.ndarray, np.ndarray]
"""x (n, dx) and y (n, dy) float32, pairs."""
KINDS = ("separable", "joint")
_EMBEDDING = 32
_SCORES_AT_ONCE = 1 << 16
_PATIENCE = 8
"""Checks of the bound, one every `_CHECK_STEPS` steps, without gain after which training ends."""
_CHECK_STEPS = 50


class Critic:
    """Scores of all pairs of some x and some y.

    `separable`: inner products of two embeddings; b^2 scores for the price of 2 b. `joint`: one
    network over x and y side by side, for dependence that needs many products.
    """

    def __init__(self, kind: Kind, dx: int, dy: int, units: int, seed: int) -> None:
        self.kind = kind
        if kind == "joint":
            self._networks = [_network(dx + dy, units, 1)]
        else:
            self._networks = [_network(width, units, _EMBEDDING) for width in (dx, dy)]
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Draw all weights anew."""
        for side, network in enumerate(self._networks):
            for index, layer in enumerate(network.layers):
                draw = keras.initializers.GlorotUniform(
                    seeds.derived_seed(seed + side, "neural critic", index)
                )
                layer.kernel.assign(draw(layer.kernel.shape))
                layer.bias.assign(np.zeros(layer.bias.shape))

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights that are trained."""
        return [weight for network in self._networks for weight in network.trainable_variables]

    def tensor(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the scores (a, b) of every x (a, dx) with every y (b, dy)."""
        if self.kind == "separable":
            first, second = self._networks[0](x), self._networks[1](y)  # (a, k) and (b, k)
            return tf.matmul(first, second, transpose_b=True)
        a, b = tf.shape(x)[0], tf.shape(y)[0]
        # (a b, dx + dy)
        pairs = tf.concat([tf.repeat(x, b, axis=0), tf.tile(y, tf.stack([a, 1]))], axis=1)
        return tf.reshape(self._networks[0](pairs), (a, b))

    def scores(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the scores (a, b) float64, computed some rows at a time."""
        step = max(1, _SCORES_AT_ONCE // len(y))
        all_y = tf.constant(y)
        blocks = [
            self.tensor(tf.constant(x[start : start + step]), all_y).numpy()
            for start in range(0, len(x), step)
        ]
        return np.concatenate(blocks).astype(np.float64)


def _network(width: int, units: int, out: int) -> keras.Sequential:
    layers = keras.layers
    shapes = ((units, "silu"), (units, "silu"), (out, None))
    stack = [layers.Dense(size, kind, kernel_initializer="zeros") for size, kind in shapes]
    return keras.Sequential([keras.Input((width,)), *stack])


class _Training:
    """A critic, its Adam and the graph of a step, for one training after the other."""

    def __init__(self, estimator: _Neural, dx: int, dy: int):
        self.critic = Critic(estimator.critic, dx, dy, estimator.units, 0)
        adam = keras.optimizers.Adam(estimator.rate)
        weights = self.critic.weights
        adam.build(weights)
        self._start = [(variable, variable.numpy()) for variable in adam.variables]

        @tf.function(reduce_retracing=True, autograph=False)
        def step(first: Tensor, second: Tensor, state: Tensor) -> Tensor:
            with tf.GradientTape() as tape:
                scores = self.critic.tensor(first, second)  # (b, b)
                maximized, state = estimator.objective(scores, state)
                loss = -maximized
            adam.apply(tape.gradient(loss, weights), weights)
            return state

        self.step = step

    def begin(self, seed: int) -> None:
        """Draw the critic's weights anew and forget all steps."""
        self.critic.begin(seed)
        for variable, value in self._start:
            variable.assign(value)


_KEPT: dict[Hashable, _Training] = {}
"""The last training; to trace a step takes as long as some hundred steps."""


@contextmanager
def _training(estimator: _Neural, dx: int, dy: int, batch: int) -> Iterator[_Training]:
    """Yield what a training of so many pairs a step needs; nobody else has it meanwhile."""
    key = estimator, dx, dy, batch
    training = _KEPT.pop(key, None) or _Training(estimator, dx, dy)
    yield training
    _KEPT.clear()
    _KEPT[key] = training


_TRAIN, _CHECK = 0.6, 0.2
"""Shares of the pairs that train, and that decide when to stop; the others are measured."""
_MOST_CHECKED = 500
"""Pairs that decide when to stop; all combinations of them are scored every time."""
_MOST_PAIRS = 2000
"""Held-out pairs of which all combinations are scored at once."""


@dataclass(frozen=True)
class _Neural(LabelEstimator):
    """The settings, split and training of all of them; labels are one-hot rows."""

    shuffles: ClassVar[int] = 0
    resamples: ClassVar[int] = 0
    map_draws: ClassVar[int] = 0

    critic: Kind = "separable"
    """`separable`, an inner product of two embeddings, or `joint`, a network over both sides."""
    units: int = 128
    """Of each of two hidden layers."""
    steps: int = 1500
    """Of training at the most; it ends when other pairs show no gain any more."""
    batch: int = 256
    """Pairs a step."""
    rate: float = 1e-3
    """Of Adam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(f"{self.name}: critic", self.critic, KINDS)
        for name, minimum in (("units", 1), ("steps", 1), ("batch", 2)):
            check_whole(f"{self.name}: {name}", getattr(self, name), minimum)
        check_number(f"{self.name}: rate", self.rate)

    @property
    def fewest(self) -> int:
        """Two pairs to be measured, two to decide when to stop, the others to train."""
        return 10

    @abstractmethod
    def objective(self, scores: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value that training maximizes, and a state that goes from step to step."""

    @abstractmethod
    def _bound(self, scores: np.ndarray) -> float:
        """Return the bound in nats, of scores (b, b)."""

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return the bound on held-out pairs; 0 where a side is constant.

        Raises:
            DataError: fewer than ten samples.
        """
        n = len(x)
        if n < self.fewest:
            raise DataError(f"{self.name}: samples", f"at least {self.fewest}", n)
        if not np.ptp(x, axis=0).any() or not np.ptp(y, axis=0).any():
            return RawEstimate(0.0, ceiling=self._ceiling(n))
        order = seeds.generator(seed, "neural split").permutation(n)
        fitted, check, measured = np.split(order, [int(_TRAIN * n), int((_TRAIN + _CHECK) * n)])
        check = check[:_MOST_CHECKED]
        first, second = _scaled(x, fitted), _scaled(y, fitted)
        weights_seed = seeds.derived_seed(seed, "neural critic")
        batch = min(self.batch, len(fitted))
        with _training(self, x.shape[1], y.shape[1], batch) as training:
            training.begin(weights_seed)
            pairs = first[fitted], second[fitted]
            self._train(training, pairs, (first[check], second[check]), batch, seed)
            blocks = np.array_split(measured, -(-len(measured) // _MOST_PAIRS))
            scores = (training.critic.scores(first[rows], second[rows]) for rows in blocks)
            values = [self._measured(block_scores) for block_scores in scores]
        value = float(np.average(values, weights=[len(rows) for rows in blocks]))
        return RawEstimate(value, ceiling=self._ceiling(n))

    def _train(
        self, training: _Training, pairs: Samples, check: Samples, batch: int, seed: int
    ) -> None:
        """Train a critic by Adam and leave it in the state that was best on the check's pairs."""
        critic = training.critic
        weights = critic.weights
        draw = seeds.generator(seed, "neural batches")
        x, y = pairs
        state = tf.constant(0.0)
        best, best_weights, idle = -np.inf, [weight.numpy() for weight in weights], 0
        for index in range(1, self.steps + 1):
            rows = draw.permutation(len(x))[:batch]
            state = training.step(tf.constant(x[rows]), tf.constant(y[rows]), state)
            if index % _CHECK_STEPS and index < self.steps:
                continue
            value = self._measured(critic.scores(*check))
            if value > best:
                best, best_weights, idle = value, [weight.numpy() for weight in weights], 0
            else:
                idle += 1
                if idle == _PATIENCE:
                    break
        for weight, saved in zip(weights, best_weights, strict=True):
            weight.assign(saved)

    def _measured(self, scores: np.ndarray) -> float:
        return self._bound(scores)

    def _ceiling(self, n: int) -> float | None:
        return None

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: all, as a training uses all threads by itself."""
        return MEMORY_BUDGET

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`; a map, a shuffle and a draw are a training each.

        Information about single classes is not estimated: NaN.
        """

        def prepare(x: np.ndarray) -> Prepared:
            def information(labels: np.ndarray, indices: np.ndarray | None) -> float:
                subset = x if indices is None else x[indices]
                return self.information(
                    subset.astype(np.float64), one_hot(labels), samples.seed
                ).nats

            return Prepared(information)

        label_samples = replace(samples, one_vs_rest=False)
        estimates = over_prepared(prepare, label_samples, self.working_bytes(len(samples.codes)))
        ceiling = self._ceiling(len(samples.codes))
        upper = np.inf if ceiling is None else ceiling
        return replace(estimates, ceiling=np.minimum(estimates.ceiling, upper), notices=())


@dataclass(frozen=True)
class Mine(_Neural):
    """MINE: I(X;Y) >= E_p[f] - ln E_q[exp f], the Donsker-Varadhan bound with a trained critic f.

    p are pairs as they are, q pairs that were mixed. The gradient of the logarithm uses a moving
    average (0.9) of E_q[exp f], as its authors have it. A lower bound in expectation up to the bias
    of the logarithm of a mean; its variance grows as exp I. No p-value and no interval unless they
    are requested (`null=20`, `draws=20`): each is a training. All of one seed is the same on one
    machine.

    Use it for wide data of some thousand samples or more, where a lower bound will do. Not above
    some 5 nats, for few samples, or for many maps: each is a training.

    Units:
        Nats inside, bits where it is shown.

    References:
        M. I. Belghazi et al.: Mutual information neural estimation. ICML 2018.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 4000))
        >>> mi.mutual_information(a, a + b, "mine").nats  # doctest: +SKIP
    """

    name: ClassVar[str] = "mine"
    name_shown: ClassVar[str] = "mutual information (MINE)"

    average: float = 0.9
    """Share of the moving average that a step keeps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("mine: average", self.average, maximum=1.0)

    def objective(self, scores: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return mine_objective(scores, state, self.average)

    def _bound(self, scores: np.ndarray) -> float:
        return donsker_varadhan(scores)


@dataclass(frozen=True)
class Smile(_Neural):
    """SMILE: the critic is trained for Jensen-Shannon, and read by Donsker-Varadhan with a clip.

    I ~ E_p[f] - ln E_q[clip(exp f, exp -tau, exp tau)]. Little variance; no bound any more: with a
    small tau it may come out too large.

    Use it for large information, where MINE and NWJ are too noisy. Not where a bound is needed.

    Units:
        Nats inside, bits where it is shown.

    References:
        J. Song, S. Ermon: Understanding the limitations of variational mutual information
        estimators. ICLR 2020.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 4000))
        >>> mi.mutual_information(a, a + b, "smile").nats  # doctest: +SKIP
    """

    name: ClassVar[str] = "smile"
    name_shown: ClassVar[str] = "mutual information (SMILE)"

    tau: float = 5.0
    """Clip of the scores under the logarithm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("smile: tau", self.tau)

    def objective(self, scores: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return jensen_shannon_objective(scores), state

    def _bound(self, scores: np.ndarray) -> float:
        return donsker_varadhan(scores, self.tau)


@dataclass(frozen=True)
class InfoNce(_Neural):
    """InfoNCE: I(X;Y) >= E[f_ii - ln mean_j exp f_ij] over batches; at most ln(batch).

    A lower bound of little variance. Its ceiling is real: a value near ln(batch) says only that I
    is no smaller; take larger batches.

    Use it for orders of dependence under ln(batch), its variance being small. Not for larger
    information.

    Units:
        Nats inside, bits where it is shown.

    References:
        A. van den Oord, Y. Li, O. Vinyals: Representation learning with contrastive predictive
        coding. 2018. B. Poole et al.: On variational bounds of mutual information. ICML 2019.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 4000))
        >>> mi.mutual_information(a, a + b, "infonce").nats  # doctest: +SKIP
    """

    name: ClassVar[str] = "infonce"
    name_shown: ClassVar[str] = "mutual information (InfoNCE)"

    def objective(self, scores: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return infonce_objective(scores), state

    def _bound(self, scores: np.ndarray) -> float:
        return infonce(scores)

    def _measured(self, scores: np.ndarray) -> float:
        """Return the mean over batches of the size of training, so that the ceiling is the same."""
        rows = np.array_split(np.arange(len(scores)), -(-len(scores) // self.batch))
        values = [self._bound(scores[np.ix_(batch, batch)]) for batch in rows]
        return float(np.average(values, weights=[len(batch) for batch in rows]))

    def _ceiling(self, n: int) -> float | None:
        tested = n - int((_TRAIN + _CHECK) * n)
        return math.log(min(self.batch, tested))


@dataclass(frozen=True)
class Nwj(_Neural):
    """NWJ: I(X;Y) >= E_p[f] - E_q[exp(f - 1)].

    An unbiased lower bound, with a variance that grows as exp I. The critic has to find its own
    normalization, so that it learns more slowly than MINE's.

    Use it where a lower bound without bias is needed, for little information. Not above some 3
    nats, for few samples, or for many maps.

    Units:
        Nats inside, bits where it is shown.

    References:
        X. Nguyen, M. J. Wainwright, M. I. Jordan: Estimating divergence functionals and the
        likelihood ratio by convex risk minimization. IEEE Transactions on Information Theory 56
        (2010) 5847.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 4000))
        >>> mi.mutual_information(a, a + b, "nwj").nats  # doctest: +SKIP
    """

    name: ClassVar[str] = "nwj"
    name_shown: ClassVar[str] = "mutual information (NWJ)"

    def objective(self, scores: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return nwj_objective(scores), state

    def _bound(self, scores: np.ndarray) -> float:
        return nwj(scores)


def _scaled(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return float32, centered and of unit variance over some rows."""
    center, deviation = values[rows].mean(axis=0), values[rows].std(axis=0)
    return ((values - center) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
