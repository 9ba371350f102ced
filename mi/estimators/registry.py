"""An estimator by its name."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import fields
from typing import Any, TypeVar

from oip.core.checks import plain
from oip.core.errors import SettingsError, expected
from oip.mi.estimators.base import Estimator, LabelEstimator

Kind = TypeVar("Kind", bound=Estimator)

_PLACES = {
    "decoder": "oip.mi.estimators.held_out.Decoder",
    "predictive": "oip.mi.estimators.held_out.Predictive",
    "kde": "oip.mi.estimators.kde.Kde",
    "binning": "oip.mi.estimators.binning.Binning",
    "ksg": "oip.mi.estimators.knn.Ksg",
    "gaussian": "oip.mi.estimators.gaussian.Gaussian",
    "vme": "oip.mi.estimators.von_mises.Vme",
    "rbig": "oip.mi.estimators.rbig.Rbig",
    "renyi": "oip.mi.estimators.renyi.Renyi",
    "dse": "oip.mi.estimators.diffusion.Dse",
    "dsmi": "oip.mi.estimators.diffusion.Dsmi",
    "mine": "oip.mi.estimators.neural.Mine",
    "smile": "oip.mi.estimators.neural.Smile",
    "infonce": "oip.mi.estimators.neural.InfoNce",
    "nwj": "oip.mi.estimators.neural.Nwj",
}
"""Name -> class, which is imported when it is asked for."""

NAMES = tuple(_PLACES)


def kind(name: str) -> type[Estimator]:
    """The class of estimators of a name.

    Raises:
        SettingsError: an unknown name; the message names what there is.
    """
    if not isinstance(name, str) or name not in _PLACES:
        near = difflib.get_close_matches(str(name), NAMES, 1)
        hint = f"Did you mean '{near[0]}'?" if near else ""
        received = f"'{name}'" if isinstance(name, str) else name
        raise SettingsError(expected("estimator", " or ".join(NAMES), received, hint))
    module, _, member = _PLACES[name].rpartition(".")
    return getattr(importlib.import_module(module), member)


def estimator(name: str | Estimator, **parameters: Any) -> Estimator:
    """The estimator of a name with its parameters; one that is given itself is handed through.

    Args:
        name: as `oip estimate --help` lists them, or an estimator.
        parameters: of the estimator, numbers of Python or of NumPy; what is not given has the
            value that its class says.

    Returns:
        The estimator: frozen settings, and a method for each quantity that it can estimate. Its
        methods take checked arrays and give bare values; `mi.mutual_information` and the others
        take it as `estimator=`, and give all that belongs to a number.

    Raises:
        SettingsError: an unknown name or parameter, or a value that it cannot have; the message
            names what there is.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> one = mi.estimator("ksg", k=5)
        >>> one.k, mi.mutual_information(np.arange(50.0), np.arange(50.0) ** 2, one).estimator
        (5, 'ksg')
    """
    if isinstance(name, Estimator):
        if parameters:
            raise SettingsError(
                expected("estimator", "a name with parameters, or an estimator", "both")
            )
        return name
    found = kind(name)
    known = [field.name for field in fields(found)]
    for parameter in parameters:
        if parameter not in known:
            wanted = ", ".join(known) or "none"
            raise SettingsError(expected(f"parameter of '{found.name}'", wanted, f"'{parameter}'"))
    return found(**{name: plain(value) for name, value in parameters.items()})


def label_estimator(name: str | Estimator, **parameters: Any) -> LabelEstimator:
    """The estimator of a name, if it can tell what numbers know of a label.

    Raises:
        SettingsError: an unknown name or parameter, or one that cannot; the message names those
            that can.
    """
    return estimator_of("information about a label", LabelEstimator, name, parameters)


def able(ability: type[Kind]) -> list[str]:
    """Names of the estimators that have an ability, such as `EntropyEstimator`."""
    return [name for name in NAMES if issubclass(kind(name), ability)]


def estimator_of(
    quantity: str, ability: type[Kind], name: str | Estimator, parameters: dict[str, Any]
) -> Kind:
    """The estimator of a name, if it can estimate the quantity.

    Args:
        quantity: as a reader knows it, for the message.
        ability: the class of the estimators that can.
        name, parameters: as for `estimator`.

    Raises:
        SettingsError: an unknown name or parameter, or one that cannot; the message names those
            that can.
    """
    found = estimator(name, **parameters)
    if not isinstance(found, ability):
        others = ", ".join(able(ability)) or "none yet"
        raise SettingsError(expected(f"estimator of {quantity}", others, f"'{found.name}'"))
    return found
