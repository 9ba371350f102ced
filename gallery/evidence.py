"""What the gallery reads beside OIPs and ranking: each file is shown where it is there.

This page is the definition of the files. All of them say `schema` 1. Information is in bits; a
number that is not known is null in JSON and NaN in an array. Files may leave out maps, and
everything that is called optional. JSON:

`layers/NNN/kernels.json`, the 2-D kernels (input channel -> map) of some maps, each map's best
first:

    {"schema": 1,
     "estimator": "kde", "name_shown": str, "samples": int, "split": str, "ceiling": bits or null,
     "maps": [{"map": int,
               "of": int,                        how many kernels the map has
               "kernels": [{"input": int,        the input channel
                            "mi": bits,          partial response and label
                            "low": bits, "high": bits, "p_adjusted": number,    optional
                            "with_map": bits,    partial response and the map's; optional
                            "weights": [[number, ...], ...]}, ...]}, ...]}      optional, rows

`layers/NNN/ablation.json`, what the loss gains when a map is silenced:

    {"schema": 1,
     "samples": int, "split": str,
     "loss": bits, "accuracy": share,            of the whole model
     "maps": [{"map": int,
               "loss_increase": bits,
               "low": bits, "high": bits,        95 % interval; optional
               "accuracy_drop": share}, ...]}    optional

`record/record.json`, layers during training, one number for each of its steps:

    {"schema": 1,
     "estimator": str, "name_shown": str, "samples": int, "split": str,
     "label_ceiling": bits or null, "input_ceiling": bits or null,
     "steps": [int, ...],                        batches done
     "accuracy": [share, ...],                   optional
     "layers": [{"index": int, "layer": str,
                 "input": [bits, ...],           I(X;T), null where it was not asked for
                 "label": [bits, ...]}, ...]}    I(T;Y)

Arrays, of m maps:

`layers/NNN/redundancy.npz`, how much pairs of maps share, by r measures:

    maps   (m,) int           the maps' numbers
    names  (r,) str           the measures; the first one gives order and neighbours
    units  (r,) str           "bits", or "" for a coefficient
    pairs  (r, m, m) float    symmetric; the diagonal is a map's own value (its entropy, or 1)

`layers/NNN/softmax.npz`, the model's output for the best start at the input's own mean and
deviation:

    maps           (m,) int
    probabilities  (m, classes) float

`layers/NNN/responses.npz`, as `Run.responses` documents it (it has no schema).

`record/layer-NNN.npz`, maps during training:

    maps   (m,) int
    steps  (t,) int
    label  (t, m) float       bits of the map's response about the label

`ranking.json` may say more of a map than its total: `raw` (bits, before an estimate under 0 is
shown as 0), and `per_class_low`, `per_class_high`, `per_class_p` (adjusted), lists like
`per_class`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gallery.text import whole
from oip.core import files
from oip.core.errors import RunError, expected
from oip.run.directory import Run

SCHEMA = 1
_HINT = "Make it again with this version of oip, or remove it."


@dataclass(frozen=True)
class Redundancy:
    """How much the maps of a layer share, pair by pair."""

    maps: np.ndarray
    """(m,) int."""
    names: tuple[str, ...]
    units: tuple[str, ...]
    pairs: np.ndarray
    """(r, m, m) float32."""

    @property
    def shared(self) -> np.ndarray:
        """(m, m) float32 by the first measure; the diagonal is NaN."""
        found = self.pairs[0].astype(np.float32)
        np.fill_diagonal(found, np.nan)
        return found

    @property
    def most(self) -> dict[int, float]:
        """The largest value that each map shares with another one, by the first measure."""
        shared = np.where(np.isnan(self.shared), -np.inf, self.shared)
        most = shared.max(axis=1, initial=-np.inf)
        return {
            int(number): float(value)
            for number, value in zip(self.maps, most, strict=True)
            if np.isfinite(value)
        }

    def share(self) -> np.ndarray:
        """(m, m): what a pair shares, of the smaller own value of the two; NaN where unknown.

        1 says that one of the two holds nothing that the other one does not hold.
        """
        own = np.diagonal(self.pairs[0])
        smaller = np.minimum(own[:, None], own[None, :])
        return self.shared / np.where(smaller > 0, smaller, np.nan)


@dataclass(frozen=True)
class Record:
    """A layer's maps during training."""

    steps: np.ndarray
    """(t,) int."""
    maps: np.ndarray
    """(m,) int."""
    label: np.ndarray
    """(t, m) bits."""


@dataclass(frozen=True)
class Evidence:
    """What there is of one layer; None where there is no such file."""

    kernels: dict[str, Any] | None
    ablation: dict[str, Any] | None
    redundancy: Redundancy | None
    softmax: dict[int, np.ndarray]
    """Map -> (classes,)."""
    record: Record | None


def layer_evidence(run: Run, index: int) -> Evidence:
    """Reads the files of a layer.

    Raises:
        RunError: a file that is damaged or not as defined above.
    """
    folder = run.folder(index)
    kernels = _told(folder / "kernels.json", "maps")
    for row in (kernels or {}).get("maps", ()):
        shown = row.get("kernels", [])
        if not isinstance(shown, list) or not all(isinstance(one, dict) for one in shown):
            raise odd_file(
                folder / "kernels.json", "a list 'kernels' of tables for each map", shown
            )
    return Evidence(
        kernels=kernels,
        ablation=_told(folder / "ablation.json", "maps"),
        redundancy=_redundancy(folder / "redundancy.npz"),
        softmax=_softmax(folder / "softmax.npz"),
        record=_record(run.path / "record" / f"layer-{index:03d}.npz"),
    )


def training_record(run: Run) -> dict[str, Any] | None:
    """What record/record.json says, None where there is none.

    Raises:
        RunError: the file is damaged or not as defined above.
    """
    path = run.path / "record" / "record.json"
    told = _told(path, "layers")
    if told is None:
        return None
    steps = told.get("steps")
    if not isinstance(steps, list) or not all(whole(one) is not None for one in steps):
        raise odd_file(path, "a list 'steps' of whole numbers", steps)
    count = len(steps)
    for layer in told["layers"]:
        for name in ("input", "label"):
            values = layer.get(name) if isinstance(layer, dict) else None
            if not isinstance(values, list) or len(values) != count:
                raise odd_file(path, f"{count} numbers of '{name}' for each layer", values)
    return told


def check_input(run: Run) -> None:
    """Raises a RunError where run.json does not say what the model is fed, or no list of classes.

    These are needed to show anything; what else is missing is shown as not known.
    """
    path = run.path / "run.json"
    told = run.info.get("input")
    shape = told.get("shape") if isinstance(told, dict) else None
    if not isinstance(shape, list) or len(shape) not in (2, 3) or not all(map(_is_side, shape)):
        raise odd_file(path, "an 'input' with its shape", told)
    for name, kind in (("classes", list), ("settings", dict), ("versions", dict), ("data", dict)):
        if not isinstance(run.info.get(name), kind | None):
            raise odd_file(path, f"a {kind.__name__} '{name}', or none", run.info[name])


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _told(path: Path, table: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    told = files.read_json(path)
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise odd_file(
            path, f"schema {SCHEMA}", told.get("schema") if isinstance(told, dict) else told
        )
    rows = told.get(table)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise odd_file(path, f"a list '{table}'", type(rows).__name__)
    return told


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    arrays = files.read_arrays(path)
    if arrays.get("schema", np.array(0)).tolist() != SCHEMA:
        raise odd_file(path, f"schema {SCHEMA}", arrays.get("schema"))
    missing = [name for name in names if name not in arrays]
    if missing:
        raise odd_file(path, f"arrays {', '.join(names)}", f"no {', '.join(missing)}")
    return arrays


def _redundancy(path: Path) -> Redundancy | None:
    arrays = _arrays(path, ("maps", "names", "units", "pairs"))
    if arrays is None:
        return None
    maps, pairs = _numbers(path, arrays), arrays["pairs"]
    wanted = (arrays["names"].size, len(maps), len(maps))
    named = arrays["names"].ndim == arrays["units"].ndim == 1
    if not named or pairs.shape != wanted or not wanted[0] or len(arrays["units"]) != wanted[0]:
        raise odd_file(path, f"pairs {wanted} and a unit for each name", pairs.shape)
    return Redundancy(
        maps=maps,
        names=tuple(arrays["names"].astype(str).tolist()),
        units=tuple(arrays["units"].astype(str).tolist()),
        pairs=pairs,
    )


def _softmax(path: Path) -> dict[int, np.ndarray]:
    arrays = _arrays(path, ("maps", "probabilities"))
    if arrays is None:
        return {}
    maps, told = _numbers(path, arrays), arrays["probabilities"]
    if told.ndim != 2 or len(told) != len(maps) or told.dtype.kind != "f":
        raise odd_file(path, f"probabilities ({len(maps)}, classes)", told.shape)
    return {int(number): row for number, row in zip(maps, told, strict=True)}


def _record(path: Path) -> Record | None:
    arrays = _arrays(path, ("maps", "steps", "label"))
    if arrays is None:
        return None
    steps, maps = _numbers(path, arrays, "steps"), _numbers(path, arrays)
    wanted = (len(steps), len(maps))
    if arrays["label"].shape != wanted or arrays["label"].dtype.kind != "f":
        raise odd_file(path, f"label {wanted}", arrays["label"].shape)
    return Record(steps, maps, arrays["label"])


def _numbers(path: Path, arrays: dict[str, np.ndarray], name: str = "maps") -> np.ndarray:
    """(m,) int64."""
    found = arrays[name]
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise odd_file(path, f"whole numbers '{name}'", f"{found.dtype} of {found.shape}")
    return found.astype(np.int64)


def odd_file(path: Path, wanted: str, received: object) -> RunError:
    """The error that names a file and what it should have said."""
    return RunError(expected(f"'{path}'", wanted, received, _HINT))


@contextmanager
def understood(path: Path, wanted: str) -> Iterator[None]:
    """Names the file where what it says cannot be understood."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise odd_file(path, wanted, repr(error)) from error
