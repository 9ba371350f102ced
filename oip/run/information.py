"""What run.json says of the model, its input, the data and the settings."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np

from oip.network.view import Network


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
