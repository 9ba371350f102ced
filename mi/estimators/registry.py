"""The table of estimators: where each is defined and what it can estimate."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import fields
from typing import Any, NamedTuple, cast

from oip.core.checks import python_number
from oip.core.errors import SettingsError, expected
from oip.core.warnings import notice
from oip.mi.estimators.base import Abilities, Estimator, LabelEstimator, Quantity


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


def estimator_class(name: str) -> type[Estimator]:
    """Return the class of the estimator of a name; a SettingsError lists the available ones."""
    if not isinstance(name, str) or name not in TABLE:
        near = difflib.get_close_matches(str(name), NAMES, 1)
        hint = f"Did you mean '{near[0]}'?" if near else ""
        received = f"'{name}'" if isinstance(name, str) else name
        raise SettingsError(expected("estimator", " or ".join(NAMES), received, hint))
    module, _, member = TABLE[name].location.partition(".")
    return getattr(importlib.import_module(f"oip.mi.estimators.{module}"), member)


def estimator(name: str | Estimator, **parameters: Any) -> Estimator:
    """Return the estimator of a name with its parameters; an estimator is returned as it is.

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
            raise SettingsError(
                expected("estimator", "a name with parameters, or an estimator", "both")
            )
        return name
    kind = estimator_class(name)
    for former in set(parameters) & set(FORMER_NAMES):
        notice(f"The parameter '{former}' is now called '{FORMER_NAMES[former]}'.")
        parameters[FORMER_NAMES[former]] = parameters.pop(former)
    available = [field.name for field in fields(kind)]
    for parameter in parameters:
        if parameter not in available:
            listed = ", ".join(available) or "none"
            raise SettingsError(expected(f"parameter of '{kind.name}'", listed, f"'{parameter}'"))
    return kind(**{name: python_number(value) for name, value in parameters.items()})


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
        raise SettingsError(expected(f"estimator of {description}", listed, f"'{result.name}'"))
    return result


def label_estimator(
    name: str | Estimator, description: str = "information about a label", /, **parameters: Any
) -> LabelEstimator:
    """Return `estimator_of` for the information about a label."""
    return cast(LabelEstimator, estimator_of(description, "label_information", name, parameters))
