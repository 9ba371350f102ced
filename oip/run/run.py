"""A run: a directory of files, the only truth about what was done.

RUN/run.json                        model, input statistics, settings, seed, versions, layers
RUN/layers/000/shard-0000.npz       OIPs of an aligned block of 64 maps of layer 0
RUN/layers/000/stability.json       similarity of the starts against the null
RUN/layers/000/softmax.npz          the model's probabilities for every map's best image
RUN/layers/000/ranking.json         what `oip rank` prints for the layer
RUN/layers/000/responses.npz        best data images and response histograms of every map
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oip.core import files, html
from oip.core.errors import RunError, expected
from oip.network.inputs import sidecar_path
from oip.network.network import Network

SCHEMA = 1
KIND = "oip-run"
_STALE_SECONDS = 3600
_RECORD = "record"
"""Folder of what was recorded while the model was trained, before there is a run."""


class Run:
    """One run directory. Open an existing one with `Run.open`, begin one with `Run.begin`."""

    def __init__(self, path: Path, info: dict[str, Any]):
        self.path = Path(path)
        self.info = info

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Opens a run.

        Raises:
            RunError: no such folder, not a run, or a run of another schema.
        """
        path = Path(path)
        if not (path / "run.json").is_file():
            what = "no run.json in it" if path.is_dir() else "no such folder"
            raise RunError(expected(f"'{path}'", "a run directory (made by oip)", what))
        info = files.read_json(path / "run.json")
        if not isinstance(info, dict) or info.get("kind") != KIND:
            raise RunError(expected(f"'{path}'", "a run directory", "a run.json of something else"))
        if info.get("schema") != SCHEMA:
            raise RunError(expected(f"'{path}'", f"schema {SCHEMA}", info.get("schema")))
        if not _is_whole(info):
            raise RunError(expected(f"'{path}'", "a whole run.json", "one without model or layers"))
        return cls(path, info)

    @classmethod
    def begin(cls, path: str | Path, info: dict[str, Any], beside: tuple[str, ...] = ()) -> Run:
        """Begins a run, or goes on with one of the same model.

        What `info` says replaces what an earlier command said of the same things, but for the
        input that the shards were grown with, and for the data of the ranking. A run of another
        model (SHA-256) is refused and stays as it is.

        Args:
            path: the run's folder; new, empty, or a run.
            info: what run.json shall say.
            beside: names that may lie in the folder already, such as the model's own.
        """
        cls.check(path, info, beside)
        for left in Path(path).rglob(f"{files.UNFINISHED}*"):
            with suppress(FileNotFoundError):  # another process has just finished it
                if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                    left.unlink()  # of a process that was killed
        with files.locked(Path(path)):
            run = cls.check(path, info, beside)
            merged = info if run is None else _merged(run.info, info)
            begun = cls(Path(path), {"schema": SCHEMA, "kind": KIND, **merged})
            if run is None or run.info != begun.info:
                begun.save()
        return begun

    @classmethod
    def check(
        cls, path: str | Path, info: dict[str, Any], beside: tuple[str, ...] = ()
    ) -> Run | None:
        """The run that is there, None where one could begin; a RunError otherwise.

        Args: as for `begin`. Nothing is written.
        """
        path = Path(path)
        files.check_writable(path)
        if (path / "run.json").exists():
            run = cls.open(path)
            have, want = run.info["model"], info["model"]
            if have["sha256"] != want["sha256"]:
                raise RunError(
                    expected(
                        f"'{path}' is a run of another model",
                        f"'{have['name']}' ({have['sha256'][:12]})",
                        f"'{want['name']}' ({want['sha256'][:12]})",
                        "Choose another --out.",
                    )
                )
            return run
        if path.is_dir() and any(_is_foreign(entry.name, beside) for entry in path.iterdir()):
            raise RunError(
                expected(
                    f"'{path}'", "a run directory or an empty folder", "a folder of other files"
                )
            )
        return None

    def _repr_html_(self) -> str:
        ranked = self.ranked()
        rows = [
            (
                f"@{layer['index']}",
                layer["layer"],
                len(self.shards(layer["index"])),
                "yes" if layer["index"] in ranked else "-",
            )
            for layer in self.layers
        ]
        return html.block(
            f"run '{self.path}' of {self.info['model'].get('name', 'a model')}",
            html.table(("index", "layer", "shards of OIPs", "ranked"), rows),
        )

    def save(self) -> None:
        """Writes run.json."""
        files.write_json(self.path / "run.json", self.info)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Every layer with maps of the model: index, layer, class, maps, size, receptive_field,
        jump, offset; as `oip layers --json` prints them."""
        return self.info["layers"]

    def folder(self, index: int) -> Path:
        """Where a layer's files are."""
        return self.path / "layers" / f"{index:03d}"

    def shard(self, index: int, number: int) -> Path:
        """The file of a block of 64 maps."""
        return self.folder(index) / f"shard-{number:04d}.npz"

    def shards(self, index: int) -> list[Path]:
        """The layer's shard files, in order."""
        return sorted(self.folder(index).glob("shard-[0-9]*.npz"))

    def reconstructed(self) -> list[int]:
        """Indices of the layers that have OIPs."""
        return [layer["index"] for layer in self.layers if self.shards(layer["index"])]

    def ranked(self) -> list[int]:
        """Indices of the layers that have a ranking."""
        return [
            layer["index"]
            for layer in self.layers
            if (self.folder(layer["index"]) / "ranking.json").is_file()
        ]

    def ranking(self, index: int) -> dict[str, Any] | None:
        """The layer's ranking as `oip rank --json` prints it, or None."""
        path = self.folder(index) / "ranking.json"
        return files.read_json(path) if path.is_file() else None

    def stability(self, index: int) -> dict[str, Any] | None:
        """The layer's stability, or None."""
        path = self.folder(index) / "stability.json"
        return files.read_json(path) if path.is_file() else None

    def responses(self, index: int) -> dict[str, np.ndarray] | None:
        """The layer's best data images and response histograms, or None.

        Arrays, for m maps: `maps` (m,) int: their numbers; `best_images` (m, 9) int: indices of
        the data images that excite the map most, -1 where none; `best_scores` (m, 9): their spatial
        mean response; `best_positions` (m, 9, 2) int: row and column of the strongest node;
        `edges` (m, bins + 1) and `histogram` (m, classes, bins) int: the response's spatial mean
        per class; `active` (m,): share of the images that excite the map.
        """
        path = self.folder(index) / "responses.npz"
        return files.read_arrays(path) if path.is_file() else None


def _is_foreign(name: str, beside: tuple[str, ...]) -> bool:
    known = name in beside or name == _RECORD
    return not known and not name.startswith(files.UNFINISHED)


def _is_whole(info: dict[str, Any]) -> bool:
    model, layers = info.get("model"), info.get("layers")
    return (
        isinstance(model, dict)
        and all(isinstance(model.get(name), str) for name in ("name", "sha256"))
        and isinstance(layers, list)
        and all(
            isinstance(layer, dict)
            and isinstance(layer.get("index"), int)
            and isinstance(layer.get("layer"), str)
            for layer in layers
        )
    )


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    have, comes = old.get("settings", {}), new.get("settings", {})
    merged = {**old, **new, "settings": {**have, **comes}}
    if not any(layer.get("objectives") for layer in new["layers"]):
        merged["layers"] = new["layers"] + [one for one in old["layers"] if one.get("objectives")]
    if "reconstruct" in have and "reconstruct" not in comes and "input" in old:
        merged["input"] = old["input"]  # the one that the shards were grown with
    if "rank" in have and "rank" not in comes:
        merged |= {name: old[name] for name in ("data", "classes") if name in old}
    return merged


def own_files(path: str | Path, model: Path | None) -> tuple[str, ...]:
    """Names of a model's file and its sidecar, if they lie in the run's own folder."""
    if model is None or model.resolve().parent != Path(path).resolve():
        return ()
    return (model.name, sidecar_path(model).name)


class Data(Protocol):
    """Images with their labels, as `models.load` gives them."""

    @property
    def images(self) -> np.ndarray:
        """(n, h, w, b)."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        ...

    @property
    def source(self) -> str:
        """What to load them by again."""
        ...


def run_info(
    network: Network,
    *,
    command: str,
    settings: dict[str, Any],
    data: Data | None = None,
    objectives: Sequence[str] = (),
) -> dict[str, Any]:
    """What `Run.begin` is told.

    Args:
        network: the model.
        command: what is being done, such as `rank`; settings are kept by it.
        settings: plain values, the seed among them.
        data: the images that were used, if any.
        objectives: expressions that images were grown for besides maps; told as one more layer.
    """
    told = network.sidecar or {}
    layers = [
        layer.to_dict() for layer in network.layers or ([] if objectives else network.convolutional)
    ]
    if objectives:
        layers.append(
            {
                "index": len(layers),
                "layer": "objectives",
                "class": "Objective",
                "maps": len(objectives),
                "size": [],
                "receptive_field": None,
                "jump": None,
                "offset": None,
                "activation": "linear",
                "objectives": list(objectives),
            }
        )
    info: dict[str, Any] = {
        "model": {"name": network.name, "sha256": network.digest},
        "input": network.inputs.to_dict(),
        "layers": layers,
        "settings": {command: settings},
        "versions": versions(),
    }
    loading: dict[str, Any] = {}
    if network.imports:
        loading["imports"] = list(network.imports)
    if network.free:
        loading["input_size"] = list(network.inputs.shape[:-1])
    if loading:
        info["loading"] = loading
    classes = (data.classes if data is not None else None) or told.get("classes")
    if classes:
        info["classes"] = [str(name) for name in classes]
    if data is not None:
        info["data"] = {"source": data.source, "images": len(data.images)}
    if isinstance(told.get("accuracy"), float):
        info["accuracy"] = told["accuracy"]
    return info


def versions() -> dict[str, str]:
    """Versions of what makes the numbers."""
    found = {"python": platform.python_version()}
    for name in ("oip", "keras", "tensorflow", "numpy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
