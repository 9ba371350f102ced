"""The interface of estimators of information, and the table of all estimators.

An estimator is a frozen dataclass of its settings, with a method for each quantity that it can
estimate; `abilities` lists these. Everything inside is in nats.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn, cast

import numpy as np
from numpy.typing import ArrayLike

from oip.core import seeds
from oip.core.checks import check_choice, check_drawn, check_whole, python_number
from oip.core.errors import SettingsError, did_you_mean, notice
from oip.core.records import Parameters
from oip.mi.backend import thread_map
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import joint_null
from oip.mi.validation import (
    FEWEST,
    checked_maps,
    copies_notice,
    first_of_copies,
    normal_marginals,
)

Quantity = Literal[
    "label_information",
    "information",
    "discrete_information",
    "conditional_information",
    "conditional_label_information",
    "entropy",
    "label_entropy",
    "total_correlation",
    "negentropy",
    "divergence",
    "input_information",
]
"""The method that estimates it; for `label_information` that is `over_maps`."""


@dataclass(frozen=True)
class Abilities:
    """The quantities that an estimator can estimate, and the kind of its numbers."""

    quantities: frozenset[Quantity] = frozenset()
    held_out: bool = False
    """A bound from held-out predictions: at its ceiling it is knowledge, not saturation."""
    cheap_null: bool = False
    """A thousand shuffles cost little, so that every map of a ranking has a null of its own."""


class Entry(NamedTuple):
    """A row of the table."""

    location: str
    """Module and class, which is imported when it is used."""
    abilities: Abilities


def _entry(location: str, *quantities: Quantity, **kinds: bool) -> Entry:
    return Entry(location, Abilities(frozenset(quantities), **kinds))


_LABEL, _PAIR, _CONDITIONAL = "label_information", "information", "conditional_information"
_NUMBERS = (_LABEL, _PAIR, _CONDITIONAL, "entropy", "total_correlation", "divergence")
_LABELS = ("discrete_information", "label_entropy", "input_information")

TABLE = {
    "decoder": _entry("held_out.Decoder", _LABEL, held_out=True, cheap_null=True),
    "predictive": _entry("held_out.Predictive", _LABEL, held_out=True, cheap_null=True),
    "kde": _entry("kde.Kde", _LABEL, "entropy", "input_information"),
    "binning": _entry("binning.Binning", *_NUMBERS, *_LABELS, cheap_null=True),
    "ksg": _entry("knn.Ksg", *_NUMBERS),
    "gaussian": _entry("gaussian.Gaussian", *_NUMBERS),
    "vme": _entry("von_mises.Vme", *_NUMBERS),
    "rbig": _entry(
        "rbig.Rbig", _LABEL, _PAIR, "entropy", "total_correlation", "negentropy", "divergence"
    ),
    "renyi": _entry(
        "renyi.Renyi",
        *(_LABEL, _PAIR, _CONDITIONAL, "conditional_label_information"),
        *("entropy", "total_correlation", *_LABELS),
    ),
    "dse": _entry("diffusion.Dse", "entropy", "input_information"),
    "dsmi": _entry("diffusion.Dsmi", _LABEL, _PAIR),
    # SMILE may be too large, and InfoNCE has a ceiling of its own: neither counts as a bound.
    "mine": _entry("neural.Mine", _LABEL, _PAIR, held_out=True),
    "smile": _entry("neural.Smile", _LABEL, _PAIR),
    "infonce": _entry("neural.InfoNce", _LABEL, _PAIR),
    "nwj": _entry("neural.Nwj", _LABEL, _PAIR, held_out=True),
}
"""Name -> entry, in the order in which estimators are listed."""

NAMES = tuple(TABLE)

FORMER_NAMES = {"standardise": "standardize", "normalisation": "normalization"}
"""Parameters that were renamed; the former name is accepted with a notice."""


@dataclass(frozen=True, eq=False)
class RawEstimate:
    """An estimate in nats, as an estimator returns it: not clipped."""

    nats: float
    ceiling: float | None = None
    """Largest value that the estimate can take; None if there is none."""
    least: float = 0.0
    """The value without any information, from which the estimate rises to its ceiling: the entropy
    of the noise where x is measured with noise added."""
    notices: tuple[str, ...] = ()
    """What a reader has to know before using the number: a bias, a broken assumption."""


@dataclass(frozen=True)
class Estimator(ABC):
    """A way to estimate information.

    A subclass lists in `abilities` the quantities that it can estimate and defines their methods.
    It checks its settings when it is made (`oip.core.checks`).
    """

    name: ClassVar[str]
    """As in `mi.estimator(name)`."""
    name_shown: ClassVar[str]
    """The name of its numbers where they are shown."""
    abilities: ClassVar[Abilities] = Abilities()
    shuffles: ClassVar[int] = 100
    """Default shuffles of the null; 0: no null unless one is requested."""
    alone_shuffles: ClassVar[int | None] = None
    """The same for one estimate by itself, where those of many maps are too expensive; `shuffles`
    if None."""
    resamples: ClassVar[int] = 40
    """Default random halves of an interval; 0: no interval."""
    rate: ClassVar[float] = 0.5
    """Power of 1 / n with which the deviation of its estimates falls; intervals are made from those
    of half as many samples."""
    biased_from: ClassVar[int | None] = None
    """Dimensions from which its bias is larger than its intervals; None: never, or downward."""

    marginals: Literal["values", "ranks"] = field(default="values", kw_only=True, repr=False)
    """`ranks`: every coordinate is replaced by normal quantiles of its ranks, so that monotone maps
    of it change nothing and tails are light."""

    def __init_subclass__(cls) -> None:
        """Take the abilities of a built-in estimator from the table."""
        super().__init_subclass__()
        attributes = vars(cls)
        if "abilities" not in attributes and attributes.get("name") in TABLE:
            cls.abilities = TABLE[cls.name].abilities

    def __post_init__(self) -> None:
        check_choice(f"{self.name}: marginals", self.marginals, ("values", "ranks"))

    @property
    def parameters(self) -> Parameters:
        """The settings that the value depends on, for the reader; without those of `repr=False`."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.repr}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def settings(self) -> Parameters:
        """`parameters`, and `marginals` where they are ranks."""
        ranked = {"marginals": self.marginals} if self.marginals == "ranks" else {}
        return {**self.parameters, **ranked}

    def with_marginals(self, x: np.ndarray) -> np.ndarray:
        """Return numbers x (n, d) as they are used: themselves, or normal quantiles of ranks."""
        return normal_marginals(x) if self.marginals == "ranks" else x

    @property
    def fewest(self) -> int:
        """The number of samples that an estimate needs."""
        return FEWEST

    @property
    def clips(self) -> bool:
        """Whether information under 0 or above its ceiling is shown as 0 or the ceiling."""
        return True

    def of_samples(self, n: int) -> Estimator:
        """Return the estimator with what follows from n samples, for halves of them, too.

        It is another one where that changes in steps, such as a small number of bins: intervals are
        from halves, which have to be estimates of the same quantity.
        """
        return self

    def can(self, quantity: Quantity) -> bool:
        """Return whether the estimator can estimate a quantity."""
        return quantity in self.abilities.quantities

    def working_bytes(self, n: int) -> int:
        """Return about how much memory one estimate of n samples takes; 0 for little."""
        return 0

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Estimate I(X;Y) of numbers x (n, dx) and y (n, dy), both float64 and finite."""
        self._refuse("I(X;Y) of numbers and numbers")

    def information_null(
        self, x: np.ndarray, y: np.ndarray, shuffles: int, seed: int
    ) -> np.ndarray:
        """Estimate I(X;Y) with the rows of y in random orders; (shuffles,).

        Estimators whose estimates of one x share work override this.
        """
        return joint_null(
            lambda other: self.information(x, other, seed).nats,
            y,
            shuffles,
            seed,
            self.working_bytes(len(y)),
        )

    def discrete_information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Estimate I(X;Y) of two labels: codes (n,) int from 0, without gaps."""
        self._refuse("I(X;Y) of two labels")

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Estimate I(X;Y|Z) of numbers x (n, dx), y (n, dy), given (n, dz), float64 and finite."""
        self._refuse("I(X;Y|Z) of numbers")

    def conditional_label_information(
        self, x: np.ndarray, codes: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Estimate I(X;Y|Z) of a label (n,) int, given numbers (n, dz).

        x is numbers (n, dx), or a label (n,) int. This is for ways other than the chain rule.
        """
        self._refuse("I(X;Y|Z) of a label, given numbers")

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate H(X) of numbers x (n, d), float64 and finite.

        A DataError says that a coordinate is constant where that makes it minus infinity.
        """
        self._refuse("the entropy")

    def label_entropy(self, codes: np.ndarray, seed: int) -> RawEstimate:
        """Estimate H(Y) of a label: codes (n,) int from 0, without gaps."""
        self._refuse("the entropy of a label")

    def total_correlation(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate T(X) = sum_i H(X_i) - H(X) of x (n, d), float64 and finite, d 2 or more."""
        self._refuse("the total correlation")

    def total_correlation_null(self, x: np.ndarray, shuffles: int, seed: int) -> np.ndarray:
        """Estimate T(X) with every column of x in a random order of its own; (shuffles,)."""

        def shuffled(index: int) -> float:
            draw = seeds.generator(seed, "null", index)
            return self.total_correlation(draw.permuted(x, axis=0), seed).nats

        size = x.nbytes + self.working_bytes(len(x))
        return np.array(thread_map(shuffled, range(shuffles), size))

    def negentropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate how much less entropy x (n, d) has than a Gaussian of its covariance."""
        self._refuse("the negentropy")

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Estimate KL(P||Q) from samples x (n, d) of P and y (m, d) of Q, float64 and finite."""
        self._refuse("the KL divergence")

    def input_information(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate I(X;M): how far noisy or coarse responses M of x (n, d) identify the sample.

        At most log n.
        """
        self._refuse("the information about the input")

    def _refuse(self, quantity: str) -> NoReturn:
        raise NotImplementedError(f"The estimator '{self.name}' cannot estimate {quantity}.")


class LabelEstimator(Estimator):
    """An estimator of I(X;Y) of responses X and a label Y, for many maps at once."""

    abilities: ClassVar[Abilities] = Abilities(frozenset({"label_information"}))
    map_draws: ClassVar[int] = 200
    """Random halves for the intervals of a ranking's maps; fewer where they are expensive."""

    def over_maps(
        self,
        responses: np.ndarray,
        labels: ArrayLike,
        seed: int = 0,
        shuffles: int = 0,
        draws: int = 0,
        one_vs_rest: bool = True,
        distinct: bool = False,
    ) -> MapEstimates:
        """Estimate the information of every map about a label.

        Large matrix products and eigenvalues run on a GPU where there is one (`oip.mi.backend`).

        Args:
            responses: (n, m, d), finite.
            labels: (n,) whole numbers, booleans or strings, or one-hot rows (n, classes).
            seed: with the same one, all blocks of a layer share draws and shuffles.
            shuffles: of the labels, for the null.
            draws: random halves, for the intervals.
            one_vs_rest: also estimate the information about being of each class or not. It costs as
                much as that many more labels, most of the time where eigenvalues are needed.
            distinct: take all samples as they are. Else copies of a sample, label included, are
                left out with a notice: what a copy tells of another is no knowledge.

        Returns:
            In nats; all 0 where there is one class only.

        Raises:
            DataError: responses or labels that cannot be used; a class with a single sample.
            SettingsError: a number that is not whole, or of more samples than memory holds.

        Example:
            >>> import numpy as np
            >>> from oip import mi
            >>> responses = np.random.default_rng(0).normal(size=(100, 3, 4))
            >>> mi.estimator("kde").over_maps(responses, np.arange(100) % 2).mi.shape
            (3,)
        """
        responses, codes = checked_maps(responses, labels)
        seed = check_whole("seed", seed, 0)
        shuffles = check_drawn("shuffles", shuffles, len(codes))
        draws = check_drawn("draws", draws, len(codes))
        copies = ()
        unique_rows = (
            None if distinct else first_of_copies(responses.reshape(len(codes), -1), codes)
        )
        if unique_rows is not None:
            copies = (copies_notice(len(codes), len(unique_rows)),)
            responses, codes = checked_maps(responses[unique_rows], codes[unique_rows])
        n, maps, d = responses.shape
        if codes.any():
            estimates = self._map_estimates(
                LabelledResponses(
                    self.with_marginals(responses), codes, seed, shuffles, draws, one_vs_rest
                )
            )
        else:
            estimates = MapEstimates(
                raw=np.zeros(maps),
                ceiling=np.zeros(maps),
                per_class_raw=np.full((maps, 1), 0.0 if one_vs_rest else np.nan),
                class_ceiling=np.zeros(1),
                draws=np.zeros((draws, maps)),
                null=np.zeros((shuffles, maps)),
            )
        if copies:
            existing = estimates.notices or ((),) * maps
            estimates = replace(estimates, notices=tuple((*copies, *texts) for texts in existing))
        return replace(
            estimates, estimator=self.name, parameters=self.settings, n=n, d=d, seed=seed
        )

    @abstractmethod
    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """Return the estimates of `over_maps` for checked input."""


def estimator_class(name: str) -> type[Estimator]:
    """Return the class of the estimator of a name; a SettingsError lists the available ones."""
    if not isinstance(name, str) or name not in TABLE:
        received = f"'{name}'" if isinstance(name, str) else name
        hint = did_you_mean(str(name), NAMES)
        raise SettingsError("estimator", " or ".join(NAMES), received, hint)
    module, _, member = TABLE[name].location.partition(".")
    return getattr(importlib.import_module(f"oip.mi.estimators.{module}"), member)


def estimator(name: str | Estimator, **parameters: Any) -> Estimator:
    """Return the estimator of a name with its parameters; an estimator is returned unchanged.

    Args:
        name: as `oip estimate --help` lists them, or an estimator.
        parameters: of the estimator, numbers of Python or of NumPy; the others have the defaults of
            its class.

    Returns:
        The estimator: frozen settings, and a method for each quantity that it can estimate. Its
        methods take checked arrays and return bare values; `mi.mutual_information` and the others
        take it as `estimator=` and add interval, p-value and notices.

    Raises:
        SettingsError: an unknown name or parameter, or a value that is not allowed; the message
            lists what is.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> ksg = mi.estimator("ksg", k=5)
        >>> ksg.k, mi.mutual_information(np.arange(50.0), np.arange(50.0) ** 2, ksg).estimator
        (5, 'ksg')
    """
    if isinstance(name, Estimator):
        if parameters:
            raise SettingsError("estimator", "a name with parameters, or an estimator", "both")
        return name
    kind = estimator_class(name)
    for old_name in set(parameters) & set(FORMER_NAMES):
        notice(f"The parameter '{old_name}' is now called '{FORMER_NAMES[old_name]}'.")
        parameters[FORMER_NAMES[old_name]] = parameters.pop(old_name)
    available = [field.name for field in fields(kind)]
    for parameter in parameters:
        if parameter not in available:
            listed = ", ".join(available) or "none"
            raise SettingsError(f"parameter of '{kind.name}'", listed, f"'{parameter}'")
    settings = {name: python_number(value) for name, value in parameters.items()}
    return kind(**settings)  # type: ignore[arg-type]


def able(quantity: Quantity) -> list[str]:
    """Return the names of the estimators that can estimate a quantity."""
    return [name for name, entry in TABLE.items() if quantity in entry.abilities.quantities]


def estimator_of(
    description: str, quantity: Quantity, name: str | Estimator, parameters: dict[str, Any]
) -> Estimator:
    """Return the estimator of a name with its parameters, if it can estimate a quantity.

    A SettingsError for an unknown name or parameter, or for an estimator that cannot, lists those
    that can; `description` is its name of the quantity.
    """
    result = estimator(name, **parameters)
    if not result.can(quantity):
        listed = ", ".join(able(quantity))
        raise SettingsError(f"estimator of {description}", listed, f"'{result.name}'")
    return result


def label_estimator(
    name: str | Estimator, description: str = "information about a label", /, **parameters: Any
) -> LabelEstimator:
    """Return `estimator_of` for the information about a label."""
    return cast(LabelEstimator, estimator_of(description, "label_information", name, parameters))
