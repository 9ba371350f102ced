"""Patterns as files: one `.npz` with the arrays and, as JSON, everything else."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mi.pattern_cases import Cases
from oip.core import files
from oip.core.errors import RunError, expected

SCHEMA = 1
_CASES = "cases."
Result = TypeVar("Result")


def save(result: Any, path: str | Path) -> Path:
    """Writes a dataclass of arrays, plain values and `cases`, whole or not at all.

    Returns:
        `path`.

    Raises:
        WriteError: it cannot be written.
    """
    told: dict[str, Any] = {"schema": SCHEMA, "kind": type(result).__name__}
    arrays: dict[str, np.ndarray] = {}
    for one in fields(result):
        value = getattr(result, one.name)
        if isinstance(value, Cases):
            parts = {part.name: getattr(value, part.name) for part in fields(Cases)}
            arrays |= {_CASES + name: np.asarray(part) for name, part in parts.items()}
        elif isinstance(value, np.ndarray):
            arrays[one.name] = value
        else:
            told[one.name] = value
    files.write_arrays(Path(path), {**arrays, "told": np.array(json.dumps(told))})
    return Path(path)


def load(kind: type[Result], path: str | Path) -> Result:
    """Reads what `save` wrote of a result of this kind.

    Raises:
        RunError: there is no such file, it is damaged, or holds something else.
    """
    arrays = files.read_arrays(Path(path))
    wanted = f"a saved {kind.__name__}"
    try:
        told = json.loads(str(arrays.pop("told")))
        if told.pop("kind") != kind.__name__ or told.pop("schema") != SCHEMA:
            raise RunError(expected(f"'{path}'", f"{wanted} of schema {SCHEMA}", "another file"))
        parts: dict[str, Any] = {
            name.removeprefix(_CASES): arrays.pop(name)
            for name in list(arrays)
            if name.startswith(_CASES)
        }
        plain = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
        }
        parts["bgr"] = bool(parts["bgr"])
        values: dict[str, Any] = {**arrays, **plain, "cases": Cases(**parts)}
        return kind(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(expected(f"'{path}'", wanted, error)) from error
