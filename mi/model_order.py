"""Models in the order of what the layer before their head knows about the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core import html
from oip.core.checks import check_whole, described
from oip.core.errors import LOOK_FOR_NAN, DataError, OipError, SettingsError
from oip.core.progress import Progress, automatic
from oip.mi.estimators.base import label_estimator
from oip.mi.judges import own_features
from oip.mi.layer_sample import labeled_subset
from oip.mi.quantities import mutual_information
from oip.network.inputs import image_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pandas import DataFrame

    from oip.mi.estimators.base import Estimator
    from oip.mi.estimators.results import Estimate
    from oip.mi.layer_sample import ModelLike

_FEWEST = 10


@dataclass(frozen=True, eq=False)
class ModelOrder:
    """Models, the one that knows most about the label first.

    An order of estimates: models whose intervals overlap may as well stand the other way round.
    """

    names: tuple[str, ...]
    """File names, or names of the models; best first."""
    estimates: tuple[Estimate, ...]
    """I(Z;Y) of each, in the same order."""
    order: np.ndarray
    """(m,) int: their numbers among the models given."""
    left_out: dict[str, str]
    """Name of a model that could not be measured -> why."""
    samples: int
    """Images."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def bits(self) -> np.ndarray:
        """(m,) the estimates in bits."""
        return np.array([estimate.bits for estimate in self.estimates])

    def to_pandas(self) -> DataFrame:
        """Return a table: a row a model, I(Z;Y) in bits with the ends of its interval."""
        import pandas as pd

        records = [estimate.to_dict() for estimate in self.estimates]
        columns = {
            "model": list(self.names),
            "given": self.order,
            "bits": self.bits,
            "low": [row["low"] for row in records],
            "high": [row["high"] for row in records],
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        listed = ", ".join(
            f"{name} {bits:.2f}" for name, bits in zip(self.names[:3], self.bits, strict=False)
        )
        return f"<ModelOrder: {len(self)} models, {self.samples} images; {listed} bits>"

    def _repr_html_(self) -> str:
        reasons = [html.paragraph(f"{name}: {reason}") for name, reason in self.left_out.items()]
        return html.block(repr(self), html.frame(self.to_pandas()), *reasons)


def order_models(
    models: Sequence[ModelLike],
    images: np.ndarray,
    labels: ArrayLike,
    estimator: str | Estimator = "dsmi",
    *,
    samples: int = 1_000,
    draws: int | None = None,
    seed: int = 0,
    progress: Progress = automatic,
    **parameters: object,
) -> ModelOrder:
    """Order trained models by I(Z;Y) of the input Z of their last layer, which needs no training.

    A first selection among many models for images of your own: their classes need not be those
    that the models were trained on.

    Args:
        models: files, Keras models or networks; those that cannot be measured are left out.
        images: plain pixels, in the size that all of these models take.
        labels: one per image.
        estimator: of information about a label; `reference=True` measures `dsmi` as its authors do,
            in the units of Z.
        samples: images that are used, in the shares of their classes.
        draws: random halves for the intervals; the estimator's own number if None.
        seed: of the sample and of the intervals.
        progress: called with "models" and the number of models done.
        parameters: of the estimator.

    Shapes:
        images (n, h, w, bands); labels (n,).

    Units:
        Bits or nats of the estimates, see `Estimate`.

    Raises:
        DataError: labels that cannot be used, or no model that can be measured.
        SettingsError: an unknown estimator or parameter.

    References:
        D. Liao et al.: Assessing neural network representations during training using
        noise-resilient diffusion spectral entropy. CISS 2024, section 6.2 of the article.

    Example:
        >>> from oip import mi
        >>> mi.order_models(["a.keras", "b.keras"], images, labels)  # doctest: +SKIP
    """
    samples = check_whole("samples", samples, _FEWEST)
    measure = label_estimator(estimator, **parameters)
    if isinstance(models, (str, Path)) or not isinstance(models, Sequence):
        raise SettingsError("models", "a list of models", described(models))
    pixels = image_array(images)
    if pixels.ndim < 2:
        raise DataError("images", "shape (n, h, w, bands)", pixels.shape)
    subset = labeled_subset(labels, len(pixels), samples, seed)
    sample_images, codes = pixels[subset.indices], np.asarray(subset.codes)
    rows: list[tuple[str, Estimate, int]] = []
    left_out: dict[str, str] = {}
    progress("models", 0, len(models))
    for model_index, model in enumerate(models):
        name = Path(model).name if isinstance(model, (str, Path)) else getattr(model, "name", "")
        try:
            z = _head_input(model, sample_images)
        except OipError as error:
            is_unique = name and name not in left_out
            left_out[name if is_unique else f"{name} ({model_index})".strip()] = str(error)
        else:
            estimate = mutual_information(
                z, codes, measure, discrete=True, seed=seed, null=0, draws=draws
            )
            rows.append((name, estimate, model_index))
        progress("models", model_index + 1, len(models))
    if not rows:
        raise DataError("models", "at least one that can be measured", "; ".join(left_out.values()))
    rows.sort(key=lambda row: -row[1].nats)
    names, estimates, order = zip(*rows, strict=True)
    return ModelOrder(names, estimates, np.array(order), left_out, len(sample_images))


def _head_input(model: ModelLike, images: np.ndarray) -> np.ndarray:
    """Return the input (n, d) of the layer that gives a model's classes."""
    from oip.network.inputs import check_images
    from oip.network.network import Network

    network = Network.of(model, images=images)
    z = own_features(network, check_images(network.inputs, images))
    if not np.isfinite(z).all():
        raise DataError(
            f"information of '{network.name}'", "a finite number", "NaN or infinity", LOOK_FOR_NAN
        )
    return z
