"""An estimator by its name."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from mi.estimators.base import LabelEstimator
from mi.estimators.kde import Kde
from mi.estimators.predictive import Decoder
from oip.core.errors import SettingsError, expected

ESTIMATORS: tuple[type[LabelEstimator], ...] = (Decoder, Kde)


def estimator(name: str | LabelEstimator, **parameters: Any) -> LabelEstimator:
    """The estimator of a name with its parameters; one that is given itself is handed through.

    Raises:
        SettingsError: an unknown name or parameter; the message names what there is.
    """
    if isinstance(name, LabelEstimator):
        if parameters:
            raise SettingsError(
                expected("estimator", "a name with parameters, or an estimator", "both")
            )
        return name
    names = [kind.name for kind in ESTIMATORS]
    for kind in ESTIMATORS:
        if kind.name == name:
            return _made(kind, parameters)
    near = difflib.get_close_matches(str(name), names, 1)
    hint = f"Did you mean '{near[0]}'?" if near else ""
    raise SettingsError(expected("estimator", " or ".join(names), f"'{name}'", hint))


def _made(kind: type[LabelEstimator], parameters: dict[str, Any]) -> LabelEstimator:
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for parameter in parameters:
        if parameter not in known:
            wanted = ", ".join(known) or "none"
            raise SettingsError(expected(f"parameter of '{kind.name}'", wanted, f"'{parameter}'"))
    return kind(**parameters)
