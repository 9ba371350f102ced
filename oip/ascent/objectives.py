"""Objectives of the ascent: a map, a node, a direction, a unit, a class, and sums of these.

An `Objective` is a weighted sum of terms. Each term is one number per image: the spatial mean of a
map's response, the response at one node, the spatial mean along a direction over maps, the output
of a unit of a dense layer, or the logit of a class.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from oip.core.checks import described
from oip.core.errors import DataError, SettingsError
from oip.core.files import RefusedFile, check_regular

Kind = Literal["map", "node", "direction", "unit", "class"]
KINDS: tuple[Kind, ...] = ("map", "node", "direction", "unit", "class")
_FORMS = "map:17, node:17@3,2, direction:FILE.npy, unit:3, class:4"
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_FACTOR = re.compile(rf"\s*(?:({_NUMBER})\s*\*\s*)?")
_SIGN = re.compile(r"\s*([+-])(?=[\s\d.a-z])")
_BETWEEN = re.compile(rf"\s+([+-])\s+(?=(?:(?:{_NUMBER})\s*\*\s*)?[a-z]+:)")
"""A sign before a term; any other belongs to a name, as in `class:black - white`."""


@dataclass(frozen=True, eq=False)
class Term:
    """One number per image."""

    kind: Kind
    number: int = 0
    """Of the map, unit or class."""
    node: tuple[int, ...] = ()
    """Index of the node along each spatial axis."""
    weights: np.ndarray | None = None
    """(maps,) float64 of length 1: the direction."""
    layer: str | None = None
    """None: the layer that is named beside the objective (of a class: the model's output)."""
    file: str = ""
    """File that the direction was read from."""
    class_name: str = ""
    """Of a class, in place of its number; it may begin with `LAYER:`."""

    @property
    def key(self) -> str:
        """Text that is equal for equal terms."""
        if self.weights is None:
            return str(self)
        return f"{self} {hashlib.sha256(self.weights.tobytes()).hexdigest()}"

    def __str__(self) -> str:
        layer = f"{self.layer}:" if self.layer is not None else ""
        if self.kind == "direction":
            return f"direction:{layer}{self.file or 'array'}"
        node = "@" + ",".join(map(str, self.node)) if self.node else ""
        return f"{self.kind}:{layer}{self.class_name or self.number}{node}"


@dataclass(frozen=True, eq=False, repr=False)
class Objective:
    """The aim of an ascent: a weighted sum of terms, which can be added and scaled.

    Example:
        >>> 2 * objective("class:4") - objective("class:9") / 2
        Objective('2*class:4 - 0.5*class:9')
    """

    terms: tuple[tuple[float, Term], ...]
    """Weight and term of each."""

    def __post_init__(self) -> None:
        pairs = self.terms if isinstance(self.terms, tuple) else ()
        if not pairs or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            pairs, hint = "(weight, term), ...", "Make one by oip.objective('class:4')."
            raise SettingsError("terms of an objective", pairs, described(self.terms), hint)
        for weight, _ in self.terms:
            if not np.isfinite(weight):
                raise SettingsError("factor of an objective", "a finite number", weight)

    @classmethod
    def direction(cls, weights: np.ndarray, layer: str | None = None) -> Objective:
        """Return the spatial mean of the responses along a direction over the maps of a layer.

        Args:
            weights: (maps,) finite, not all zero; taken at length 1.
            layer: the layer's name; None for the one that is named beside the objective.

        Raises:
            DataError: weights that are no direction.
        """
        return cls(((1.0, Term("direction", weights=_direction(weights), layer=layer)),))

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return Objective(self.terms + other.terms)

    def __radd__(self, other: int) -> Objective:
        """Support `sum`, which begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, (int, float, np.integer, np.floating)):
            return NotImplemented
        return Objective(tuple((float(factor) * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        if not isinstance(divisor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if divisor == 0:
            raise SettingsError("divisor of an objective", "a number", "zero")
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
            factor = "" if abs(weight) == 1 else f"{abs(weight):g}*"
            sign = "-" if weight < 0 else "+" if text else ""
            text += f" {sign} {factor}{term}" if text else f"{sign}{factor}{term}"
        return text

    def __repr__(self) -> str:
        return f"Objective('{self}')"


def objective(text: str | Objective) -> Objective:
    """Return an objective from its expression.

    Args:
        text: terms `map:17`, `node:17@3,2` (row, column), `direction:FILE.npy` (an array of one
            number a map), `unit:3`, `class:4` or a class's name, each with an optional factor
            before `*`, joined by ` + ` and ` - ` (with spaces). A layer's name may stand before
            the number, as in `map:block1/conv2:17`.

    Raises:
        SettingsError: a text that is no objective.
        DataError: a direction that cannot be read.

    Example:
        >>> objective("class:4 - 0.5*class:9")
        Objective('class:4 - 0.5*class:9')
        >>> -objective("map:3")
        Objective('-map:3')
    """
    if isinstance(text, Objective):
        return text
    if not isinstance(text, str) or not text.strip():
        raise SettingsError("objective", _FORMS, f"'{text}'")
    sign = _SIGN.match(text)
    first_sign, unsigned_text = (sign.group(1), text[sign.end() :]) if sign else ("+", text)
    texts = _BETWEEN.split(unsigned_text)
    terms = []
    for term_text, symbol in zip(texts[::2], (first_sign, *texts[1::2]), strict=True):
        factor = _FACTOR.match(term_text)
        weight = float(factor.group(1)) if factor and factor.group(1) else 1.0
        term = _parsed_term(term_text[factor.end() if factor else 0 :].strip(), text)
        terms.append((-weight if symbol == "-" else weight, term))
    if all(weight == 0 for weight, _ in terms):
        raise SettingsError("objective", "a term that counts", f"'{text}'")
    return Objective(tuple(terms))


def _parsed_term(text: str, objective: str) -> Term:
    kind, _, argument = text.partition(":")
    if kind not in KINDS or not argument:
        received = f"'{text}' in '{objective}'" if text != objective else f"'{text}'"
        raise SettingsError("objective", _FORMS, received)
    if kind == "direction":
        return _term_from_file(argument)
    layer, colon, unit = argument.rpartition(":")
    node: tuple[int, ...] = ()
    if kind == "node":
        unit, at, indices = unit.partition("@")
        if not at or not re.fullmatch(r"\d{1,9}(,\d{1,9})*", indices):
            raise SettingsError("objective", "node:MAP@ROW,COLUMN", f"'{text}'")
        node = tuple(int(index) for index in indices.split(","))
    if kind == "class" and re.search(r"[^\W\d_]", unit):
        return Term("class", class_name=argument)
    if not unit.isdecimal() or len(unit) > 9:
        forms = "class:NUMBER or class:NAME" if kind == "class" else f"{kind}:NUMBER"
        raise SettingsError("objective", forms, f"'{text}'")
    return Term(cast(Kind, kind), int(unit), node, layer=layer if colon else None)


def _term_from_file(argument: str) -> Term:
    """Return the direction (maps,) of a file; a layer's name may stand before it."""
    path, layer = Path(argument), None
    if not path.is_file() and ":" in argument:
        layer, _, tail = argument.rpartition(":")
        path = Path(tail)
    try:
        check_regular(path)
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "another file"
        reason = error if isinstance(error, RefusedFile) else reason
        raise DataError(
            f"direction '{path}'", "an .npy array of one number per map", reason
        ) from error
    return Term("direction", weights=_direction(values), layer=layer, file=path.name)


def _direction(weights: np.ndarray) -> np.ndarray:
    """Return a direction (maps,) float64 at length 1."""
    values = np.asarray(weights)
    if values.dtype.kind not in "buif" or values.ndim != 1 or not values.size:
        received = f"dtype {values.dtype}, shape {values.shape}"
        raise DataError("direction", "an array of one number per map", received)
    values = values.astype(np.float64)
    length = float(np.linalg.norm(values))
    if not np.isfinite(length) or length == 0:
        raise DataError("direction", "finite numbers, not all zero", length)
    return values / length


def parse_objectives(
    objectives: str | Objective | Sequence[str | Objective],
) -> list[Objective]:
    """Return one objective or several from their expressions; nothing of a network is needed.

    Raises:
        SettingsError, DataError: none at all, or as for `objective`.
    """
    if isinstance(objectives, (str, Objective)) or not isinstance(objectives, Iterable):
        return [objective(objectives)]
    items = list(objectives)
    if not items:
        raise SettingsError("objective", "at least one", "none")
    return [objective(item) for item in items]
