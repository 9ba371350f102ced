"""What an image is grown for: a map, a node, a direction, a unit, a class, and sums of these.

An objective is a weighted sum of terms. Each term is one number an image: the spatial mean of a
map's response, the response at one node, the spatial mean along a direction over maps, the output
of a unit of a dense layer, or the logit of a class.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from oip.core.errors import DataError, SettingsError, expected

Kind = Literal["map", "node", "direction", "unit", "class"]
KINDS: tuple[Kind, ...] = ("map", "node", "direction", "unit", "class")
_FORMS = "map:17, node:17@3,2, direction:FILE.npy, unit:3, class:4"
_FACTOR = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)\s*\*\s*)?")
_SIGN = re.compile(r"\s*([+-])(?=[\s\d.a-z])")
_BETWEEN = re.compile(r"\s+([+-])\s+")


@dataclass(frozen=True, eq=False)
class Term:
    """One number an image."""

    kind: Kind
    number: int = 0
    """Of the map, unit or class."""
    node: tuple[int, ...] = ()
    """Place of the node along each spatial axis."""
    weights: np.ndarray | None = None
    """(maps,): the direction."""
    layer: str | None = None
    """None: the layer that is asked for beside the objective (of a class: the model's output)."""
    file: str = ""
    """Where the direction came from."""

    @property
    def key(self) -> str:
        """Equal for terms that are the same."""
        if self.weights is None:
            return str(self)
        return f"{self} {hashlib.sha256(self.weights.tobytes()).hexdigest()}"

    def __str__(self) -> str:
        place = f"{self.layer}:" if self.layer is not None else ""
        if self.kind == "direction":
            return f"direction:{place}{self.file or 'array'}"
        node = "@" + ",".join(map(str, self.node)) if self.node else ""
        return f"{self.kind}:{place}{self.number}{node}"


@dataclass(frozen=True, eq=False)
class Objective:
    """A weighted sum of terms, with the arithmetic of sums.

    Example:
        >>> print(2 * objective("class:4") - objective("class:9") / 2)
        2*class:4 - 0.5*class:9
    """

    terms: tuple[tuple[float, Term], ...]

    @classmethod
    def direction(cls, weights: np.ndarray, layer: str | None = None) -> Objective:
        """The spatial mean of the responses along a direction over the maps of a layer.

        Args:
            weights: (maps,) finite, not all zero; taken at length 1.
            layer: the layer's name; None for the one that is asked for beside the objective.

        Raises:
            DataError: weights that are no direction.
        """
        return cls(((1.0, Term("direction", weights=_direction(weights), layer=layer)),))

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return Objective(self.terms + other.terms)

    def __radd__(self, other: int) -> Objective:
        """What `sum` needs, which begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if not np.isfinite(factor):
            raise SettingsError(expected("factor of an objective", "a finite number", factor))
        return Objective(tuple((float(factor) * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        if not isinstance(divisor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if divisor == 0:
            raise SettingsError(expected("divisor of an objective", "a number", "zero"))
        return self * (1.0 / float(divisor))

    def __neg__(self) -> Objective:
        return self * -1.0

    def __sub__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return self + (-other)

    def __str__(self) -> str:
        text = ""
        for weight, term in self.terms:
            sign = "-" if weight < 0 else "+"
            factor = "" if abs(weight) == 1 else f"{abs(weight):g}*"
            if text:
                text += f" {sign} {factor}{term}"
            else:
                text = f"{'-' if weight < 0 else ''}{factor}{term}"
        return text


def objective(text: str | Objective) -> Objective:
    """An objective from its expression.

    Args:
        text: terms `map:17`, `node:17@3,2` (row, column), `direction:FILE.npy` (an array of one
            number a map), `unit:3`, `class:4`, each with a factor before `*` if wanted, joined by
            ` + ` and ` - ` (with spaces). A layer's name may stand before the number, as in
            `map:block1/conv2:17`.

    Raises:
        SettingsError: what is no objective.
        DataError: a direction that cannot be read.

    Example:
        >>> print(objective("class:4 - 0.5*class:9"))
        class:4 - 0.5*class:9
        >>> print(-objective("map:3"))
        -map:3
    """
    if isinstance(text, Objective):
        return text
    if not isinstance(text, str) or not text.strip():
        raise SettingsError(expected("objective", _FORMS, f"'{text}'"))
    sign = _SIGN.match(text)
    signs, rest = (sign.group(1), text[sign.end() :]) if sign else ("+", text)
    parts = _BETWEEN.split(rest)
    total: Objective | None = None
    for part, symbol in zip(parts[::2], (signs, *parts[1::2]), strict=True):
        factor = _FACTOR.match(part)
        weight = float(factor.group(1)) if factor and factor.group(1) else 1.0
        term = _term(part[factor.end() if factor else 0 :].strip(), text)
        one = Objective(((-weight if symbol == "-" else weight, term),))
        total = one if total is None else total + one
    if total is None or all(weight == 0 for weight, _ in total.terms):
        raise SettingsError(expected("objective", "a term that counts", f"'{text}'"))
    return total


def _term(text: str, whole: str) -> Term:
    kind, _, argument = text.partition(":")
    if kind not in KINDS or not argument:
        what = f"'{text}' in '{whole}'" if text != whole else f"'{text}'"
        raise SettingsError(expected("objective", _FORMS, what))
    if kind == "direction":
        return _from_file(argument)
    layer, colon, number = argument.rpartition(":")
    place = layer if colon else None
    node: tuple[int, ...] = ()
    if kind == "node":
        number, at, places = number.partition("@")
        if not at or not re.fullmatch(r"\d+(,\d+)*", places):
            raise SettingsError(expected("objective", "node:MAP@ROW,COLUMN", f"'{text}'"))
        node = tuple(int(one) for one in places.split(","))
    if not number.isdecimal():
        raise SettingsError(expected("objective", f"{kind}:NUMBER", f"'{text}'"))
    return Term(kind, int(number), node, layer=place)  # type: ignore[arg-type]


def _from_file(argument: str) -> Term:
    path, layer = Path(argument), None
    if not path.is_file() and ":" in argument:
        name, _, tail = argument.rpartition(":")
        path, layer = Path(tail), name
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "another file"
        raise DataError(
            expected(f"direction '{path}'", "an .npy array of one number a map", reason)
        ) from error
    term = Term("direction", weights=_direction(values), layer=layer)
    return replace(term, file=path.name)


def _direction(weights: Any) -> np.ndarray:
    values = np.asarray(weights)
    if values.dtype.kind not in "buif" or values.ndim != 1 or not values.size:
        told = f"dtype {values.dtype}, shape {values.shape}"
        raise DataError(expected("direction", "an array of one number a map", told))
    values = values.astype(np.float64)
    length = float(np.linalg.norm(values))
    if not np.isfinite(length) or length == 0:
        raise DataError(expected("direction", "finite numbers, not all zero", length))
    return values / length
