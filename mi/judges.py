"""Judges of legibility: how alike two pictures are to a network or a descriptor of pixels.

A judge sees what a viewer sees: pictures of 256 levels a band, in the order of display. The
similarity of two pictures is the cosine of their features about the mean of the images: what all
images have in common, most of the length of features after a ReLU, tells nothing.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core.errors import DataError, ModelError, SettingsError, notice
from oip.core.images import as_input, plain_range
from oip.core.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from oip.mi.layer_sample import ModelLike
    from oip.network.inputs import InputSpec
    from oip.network.network import Network

PIXELS = "pixels"
"""The judge that is no network."""
SHARED = 0.5
"""Share of a judge's weights that are those of a model from which it is no judge of it."""
FEATURE_BYTES = 2 << 30
"""Of the features of all images."""
_BATCH_BYTES = 64 << 20
_SIDE, _CELL, _BLOCK, _ORIENTATIONS = 64, 8, 2, 9
"""Of the descriptor: pixels of the gray image and of a cell, cells of a block, directions."""
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_COLOR = 3


class PictureScale(NamedTuple):
    """Black and white of an input, (bands,) in its units: how its images are shown."""

    black: np.ndarray
    white: np.ndarray
    bgr: bool

    @classmethod
    def of(cls, spec: InputSpec, images: np.ndarray) -> PictureScale:
        """Return the scale of an input; that of some images where the input does not say it."""
        ends = spec.picture_ends
        if ends is None:
            low, high = plain_range(images)
            high = high if high > low else low + 1.0
            ends = np.full(len(spec.mean), low), np.full(len(spec.mean), high)
        black, white = (np.asarray(end, np.float32) for end in ends)
        return cls(black, white, spec.bgr)

    def of_bands(self, count: int) -> PictureScale:
        """Return the scale for images of another number of bands."""
        if len(self.black) == count:
            return self
        black, white = self.black.mean(), self.white.mean()
        return PictureScale(np.full(count, black), np.full(count, white), False)

    def pictures(self, images: np.ndarray) -> np.ndarray:
        """Return images (..., bands) in input units as they are shown, uint8."""
        share = (np.asarray(images, np.float32) - self.black) / (self.white - self.black)
        levels = np.round(255 * np.clip(share, 0.0, 1.0)).astype(np.uint8)
        return levels[..., ::-1] if self.bgr else levels

    def images(self, pictures: np.ndarray) -> np.ndarray:
        """Return pictures of 0 to 255 (..., bands) in input units, float32."""
        return as_input(pictures, self.black, self.white, self.bgr)


class Judge(ABC):
    """A measure of the similarity of two pictures: a network or a descriptor."""

    name: str
    """`pixels`, or the name of a model's file."""
    layer: str = ""
    """The layer whose features are compared; empty for the penultimate ones."""
    digest: str = ""
    """SHA-256 of a model."""

    @abstractmethod
    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a DataError unless pictures (h, w, bands) can be made what the judge takes."""

    @abstractmethod
    def batches(self, pictures: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the rows of each batch of pictures (n, h, w, bands) uint8, and their features."""

    def features(
        self, pictures: np.ndarray, progress: Progress = silent, label: str = "features"
    ) -> np.ndarray:
        """Return the features of pictures (n, h, w, bands) uint8: (n, d) float32.

        Raises:
            DataError: features that are not finite.
            SettingsError: features of all pictures take more memory than there is for them.
        """
        values = np.zeros((0, 0), np.float32)
        progress(label, 0, len(pictures))
        for rows, batch in self.batches(pictures):
            if not rows.start:
                self._check_size(len(pictures), batch.shape[1])
                values = np.empty((len(pictures), batch.shape[1]), np.float32)
            if not np.isfinite(batch).all():
                raise DataError(f"features of judge '{self.name}'", "finite numbers", "others")
            values[rows] = batch
            progress(label, rows.stop, len(pictures))
        return values

    def _check_size(self, count: int, width: int) -> None:
        if 4 * count * width > FEATURE_BYTES:
            received = f"{4 * count * width >> 20} MiB for {count} images of {width} features"
            hint = "Name another layer of the judge, or give fewer images."
            expected = f"at most {FEATURE_BYTES >> 20} MiB"
            raise SettingsError(f"features of judge '{self.name}'", expected, received, hint)


def feature_directions(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return features (n, d) less a mean (d,), at length 1, in place."""
    features -= mean
    length = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(length > 0, length, 1.0)
    return features


class PixelsJudge(Judge):
    """Histograms of oriented gradients of small gray images: a descriptor that was never trained.

    References:
        N. Dalal, B. Triggs: Histograms of oriented gradients for human detection. CVPR 2005.
    """

    name = PIXELS

    def check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3:
            raise DataError("images for judge 'pixels'", "(h, w, bands)", shape)
        if shape[-1] == _COLOR:
            notice(
                "The judge 'pixels' sees edges in gray. It is too little for photographs: give a "
                "network that was trained on images of their kind."
            )

    def batches(self, pictures: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        from skimage.feature import hog
        from skimage.transform import resize

        for rows, batch in _picture_batches(pictures):
            gray = _gray(batch)
            described = [
                hog(
                    resize(image, (_SIDE, _SIDE), anti_aliasing=max(image.shape) > _SIDE),
                    _ORIENTATIONS,
                    (_CELL, _CELL),
                    (_BLOCK, _BLOCK),
                )
                for image in gray
            ]
            yield rows, np.array(described, np.float32)


class NetworkJudge(Judge):
    """A network, by its penultimate features or those of a layer; maps by their spatial means.

    Args:
        network: the judge, its input fitted to the images.
        layer: whose output is compared; None for what the last layer with a kernel receives.
        scale: of the images, for a network that says nothing of its input.
    """

    def __init__(self, network: Network, layer: str | None, scale: PictureScale):
        self.network = network
        self.name, self.layer = network.name, layer or ""
        self.digest = network.digest
        self._scale = scale.of_bands(network.inputs.shape[-1])
        ends = network.inputs.picture_ends
        if ends is not None:
            self._scale = PictureScale(*ends, network.inputs.bgr)
        if not network.inputs.is_known:
            notice(
                f"the judge '{self.name}' does not describe its input; it receives images in the "
                "units of the model that is judged."
            )
        if layer is None:
            self._output = network.last_with_kernel()
        else:
            self._output = network.find_output(layer).response

    def check(self, shape: tuple[int, ...]) -> None:
        input_shape = self.network.inputs.shape
        bands = {shape[-1], input_shape[-1]}
        fits = len(shape) == len(input_shape) == 3 and (len(bands) == 1 or bands == {1, _COLOR})
        if shape != input_shape and not fits:
            raise DataError(
                f"images for judge '{self.name}'",
                f"images that can be brought to {input_shape}",
                shape,
            )

    def batches(self, pictures: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        from oip.network.forward import features

        for rows, batch in _picture_batches(pictures, int(np.prod(self.network.inputs.shape))):
            images = self._scale.images(self._fitted(batch))
            for inner, values in features(
                self.network, images, self._output, enter=bool(self.layer)
            ):
                begin = rows.start
                yield slice(begin + inner.start, begin + inner.stop), values

    def _fitted(self, pictures: np.ndarray) -> np.ndarray:
        """Return pictures as float32 of 0 to 255 in the size and bands of the judge's input."""
        import tensorflow as tf

        shape = self.network.inputs.shape
        values = pictures.astype(np.float32)
        if values.shape[-1] > shape[-1]:
            values = 255 * _gray(pictures)[..., None]
        elif values.shape[-1] < shape[-1]:
            values = np.repeat(values, shape[-1], -1)
        if values.shape[1:] == shape:
            return values
        resized = tf.image.resize(values, shape[:2], "bicubic", antialias=True)
        return np.clip(resized.numpy(), 0.0, 255.0)


def judge_of(
    judge: str | ModelLike | Judge,
    layer: str | None,
    judged: Network | None,
    images: np.ndarray,
    scale: PictureScale,
    imports: tuple[str, ...] = (),
) -> Judge:
    """Return the judge that a caller names, opened and checked.

    Args:
        judge: `pixels`, a model, or a judge that is opened already.
        layer: of a model, whose output is compared; None for the penultimate features.
        judged: the network whose units are judged; None where it is not at hand.
        images: (n, h, w, bands) in its input units.
        scale: of these images.
        imports: as for `Network`.

    Raises:
        ModelError: a model that cannot be opened, is the judged one, or has no such layer.
        SettingsError: a layer of `pixels`.
        DataError: images that cannot be made what the judge takes.
    """
    from oip.network.network import Network

    if not isinstance(judge, Judge):
        if isinstance(judge, str) and judge == PIXELS:
            if layer is not None:
                raise SettingsError("judge_layer", "a model as the judge", f"'{PIXELS}'")
            judge = PixelsJudge()
        else:
            network = judge if isinstance(judge, Network) else Network(judge, imports)
            sides = (*images.shape[1:-1], network.inputs.shape[-1])
            judge = NetworkJudge(network.fitted_to(np.empty((0, *sides))), layer, scale)
    if judged is not None and isinstance(judge, NetworkJudge):
        check_independent(judge.network, judged)
    judge.check(images.shape[1:])
    return judge


def check_independent(judge: Network, judged: Network) -> None:
    """Raise a ModelError where a judge is the judged network, whatever its name or file."""
    share = 1.0 if judge.digest == judged.digest else shared_weights(judge.model, judged.model)
    if share >= SHARED:
        raise ModelError(
            f"judge '{judge.name}'",
            "a network with other weights than the judged one",
            f"one that shares {share:.0%} of its weights with '{judged.name}'",
            "A network always recognizes its own noise.",
        )


def shared_weights(model: keras.Model, other: keras.Model) -> float:
    """Return the share of a model's weights that another model has, too, in whole arrays.

    Arrays of one value, such as those of a new normalization, tell nothing. Values are compared as
    float16, so that a model saved in another precision is known.
    """
    own_digests, theirs = _weight_digests(model), _weight_digests(other)
    total = sum(size for _, size in own_digests)
    digests = {digest for digest, _ in theirs}
    return sum(size for digest, size in own_digests if digest in digests) / total if total else 0.0


def _weight_digests(model: keras.Model) -> list[tuple[str, int]]:
    """Return a digest and the size of each array that identify a model."""
    digests = []
    for weight in model.weights:
        values = np.asarray(weight.numpy())
        if values.size > 1 and np.ptp(values.astype(np.float32)):
            with np.errstate(over="ignore"):
                content = np.ascontiguousarray(values.astype(np.float16)).tobytes()
            digests.append((hashlib.sha256(content).hexdigest(), values.size))
    return digests


def _gray(pictures: np.ndarray) -> np.ndarray:
    """Return pictures (n, h, w, bands) of 0 to 255 as (n, h, w) of 0 to 1."""
    values = pictures.astype(np.float32) / 255
    return values @ _LUMINANCE if values.shape[-1] == _COLOR else values.mean(-1)


def _picture_batches(pictures: np.ndarray, pixels: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and pictures of batches whose float32 copies fit the budget."""
    size = 4 * max(int(np.prod(pictures.shape[1:])), pixels, 1)
    count = max(1, _BATCH_BYTES // size)
    for begin in range(0, len(pictures), count):
        rows = slice(begin, min(begin + count, len(pictures)))
        yield rows, pictures[rows]


def own_features(network: Network, images: np.ndarray, progress: Progress = silent) -> np.ndarray:
    """Return (n, d) float32: what the last layer with a kernel receives."""
    from oip.network.forward import features

    label = "features of the network"
    progress(label, 0, len(images))
    blocks = []
    for rows, batch in features(network, images, network.last_with_kernel(), enter=False):
        blocks.append(batch)
        progress(label, rows.stop, len(images))
    return np.concatenate(blocks)
