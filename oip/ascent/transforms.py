"""Random looks at an image: what the model receives is moved, scaled, turned, mirrored, blurred.

An image whose score holds under small changes has fewer accidents of single pixels. The transform
is inside the gradient only: the image itself is never moved. All images of a step are transformed
in the same way, drawn from the seed and the number of the step alone, so that the grouping of
images changes nothing; every second step takes the opposite of the one before, so that moves and
turns have mean zero. A look can also go through fewer residual blocks of the network, and less of
its gradient through their branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from oip.ascent.regularizers import blur_radius, blurred
from oip.ascent.settings import AscentSettings
from oip.core.errors import SettingsError
from oip.core.frameworks import Tensor, keras, tf
from oip.network.layer_types import is_addition
from oip.network.tracing import Call, shadowed

Transform: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""(images, step) -> images, in the graph; images have mean 0."""


def transform_of(
    settings: AscentSettings,
    shape: tuple[int, ...],
    seed: int | Tensor,
    size: tuple[int, ...] | None = None,
) -> Transform | None:
    """Return the transform of some settings, None where nothing is transformed.

    Args:
        settings: `jitter`, `scale`, `rotation`, `mirror`, `crop`, `soften`.
        shape: (h, w, b) or (t, b).
        size: (h', w', b) of what the model receives; as the images if None.

    Raises:
        SettingsError: scale, rotation, mirror or crop of images with one spatial axis.
    """
    transforms: list[Transform] = []
    size = shape if size is None else size
    moved = settings.scale > 0 or settings.rotation > 0 or settings.mirror or settings.crop < 1
    if moved or size != shape:
        if len(shape) != 3:
            raise SettingsError("scale, rotation, mirror and crop", "two spatial axes", f"{shape}")
        transforms.append(_rotation(settings, shape, size, seed))
    if settings.jitter > 0:
        transforms.append(_shift(shift_in_pixels(settings.jitter, size), size, seed))
    if settings.soften > 0:
        radius = blur_radius(settings.soften)
        transforms.append(lambda images, step: blurred(images, settings.soften, radius))
    if not transforms:
        return None

    def transform(images: Tensor, step: Tensor) -> Tensor:
        for single in transforms:
            images = single(images, step)
        return images

    return transform


def shift_in_pixels(jitter: float, shape: tuple[int, ...]) -> int:
    """Return the largest shift of images (h, w, b): below 1 it is a share of the shorter side.

    >>> shift_in_pixels(0.07, (224, 224, 3)), shift_in_pixels(8, (224, 224, 3))
    (16, 8)
    """
    side = min(shape[:-1])
    pixels = jitter if jitter >= 1 else max(1.0, jitter * side)
    return min(round(pixels), side - 1)


def _draws(step: Tensor, seed: int | Tensor, purpose: int, count: int) -> Tensor:
    """Return (count,) numbers from -1 to 1; at odd steps the opposite of the step before."""
    key = tf.stack([tf.convert_to_tensor(seed, tf.int32) * 4 + purpose, step // 2])
    values = tf.random.stateless_uniform([count], key, -1.0, 1.0)
    return values * tf.where(tf.math.floormod(step, 2) == 0, 1.0, -1.0)


def _shift(max_shift: int, shape: tuple[int, ...], seed: int | Tensor) -> Transform:
    """Return a transform that moves images by up to `max_shift` pixels each way."""
    axes = len(shape) - 1

    def shift(images: Tensor, step: Tensor) -> Tensor:
        room = [[0, 0], *[[max_shift, max_shift]] * axes, [0, 0]]
        move = tf.cast(tf.round(_draws(step, seed, 0, axes) * (max_shift + 0.499)), tf.int32)
        begin = tf.concat([[0], max_shift + move, [0]], 0)
        moved = tf.slice(tf.pad(images, room), begin, [-1, *shape[:-1], -1])
        return tf.ensure_shape(moved, (None, *shape))

    return shift


def _rotation(
    settings: AscentSettings, shape: tuple[int, ...], size: tuple[int, ...], seed: int | Tensor
) -> Transform:
    """Return a transform that turns and scales images about their center, or that of a crop."""
    height, width = size[:2]
    steps = shape[0] / height, shape[1] / width  # pixels of the image from one to the next
    center = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    largest = np.log1p(settings.scale)
    side = float(np.sqrt(settings.crop))

    def rotate(images: Tensor, step: Tensor) -> Tensor:
        draws = _draws(step, seed, 1, 2)
        angle = draws[0] * float(np.deg2rad(settings.rotation))
        zoom = tf.exp(draws[1] * float(largest)) / side
        off = (1.0 - side) / 2.0 * _draws(step, seed, 2, 2) * [float(side) for side in shape[:2]]
        cosine, sine = tf.cos(angle) / zoom, tf.sin(angle) / zoom
        tall, wide = steps
        if settings.mirror:
            wide *= tf.where(_draws(step, seed, 3, 1)[0] < 0, -1.0, 1.0)
        middle = (width - 1) / 2.0 * wide, (height - 1) / 2.0 * tall
        right = center[0] + off[1] - cosine * middle[0] + sine * middle[1]
        down = center[1] + off[0] - sine * middle[0] - cosine * middle[1]
        zero = tf.zeros([])
        matrix = tf.stack(
            [cosine * wide, -sine * tall, right, sine * wide, cosine * tall, down, zero, zero]
        )
        rotated = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=matrix[None],
            output_shape=tf.constant([height, width]),
            fill_value=0.0,
            interpolation="BILINEAR",
        )
        return tf.ensure_shape(rotated, (None, *size))

    return rotate


class ResidualBlock(NamedTuple):
    """An addition of a branch to what the branch was computed from."""

    layer: keras.Layer
    use: int
    """Which of the layer's calls it is."""
    branch: int
    """Which of the two that are added is the branch: 0 or 1."""
    depth: float
    """Share of the network's residual blocks up to this one."""


def residual_blocks(calls: Sequence[Call]) -> list[ResidualBlock]:
    """Return the residual blocks among the calls of a network's layers, in their order."""
    ancestors: list[set[int]] = []
    additions: list[tuple[keras.Layer, int, int]] = []
    for call in calls:
        ancestors.append(set(call.sources).union(*(ancestors[n] for n in call.sources if n >= 0)))
        if not (is_addition(call.layer) and call.direct and len(call.sources) == 2):
            continue
        for branch, (source, shortcut) in enumerate((call.sources, call.sources[::-1])):
            if source >= 0 and shortcut in ancestors[source]:
                additions.append((call.layer, call.use, branch))
    return [
        ResidualBlock(*block, depth=depth / len(additions))
        for depth, block in enumerate(additions, 1)
    ]


@contextmanager
def thinned(
    blocks: Sequence[ResidualBlock],
    rate: Tensor,
    looks: int,
    seed: int | Tensor,
    step: Tensor,
    gradient: float = 1.0,
) -> Iterator[None]:
    """Let residual blocks add nothing, at random for each look, within the block of code.

    What they add otherwise is raised, so that it is the same in the mean.

    Args:
        rate: the share of looks without the last block, from 0 to below 1.
        looks: how many the model receives, one after the other along the batch.
        gradient: the share of its gradient that what a block adds passes on.

    References:
        Huang, Sun, Liu, Sedra, Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016 (in
        training); Li et al., "Learning Transferable Adversarial Examples via Ghost Networks", AAAI
        2020 (images for which one network stands for several); Wu, Wang, Xia, Bailey, Ma, "Skip
        Connections Matter: On the Transferability of Adversarial Examples Generated with ResNets",
        ICLR 2020 (less gradient through branches).
    """
    first_look = step * looks
    draws = tf.stack(  # (looks, blocks), as weights
        [_draws(first_look + look, seed, 3, 1 + len(blocks))[1:] for look in range(looks)]
    )
    shares = rate * tf.constant([block.depth for block in blocks], tf.float32)
    weights = tf.where((draws + 1.0) / 2.0 < shares, 0.0, 1.0 / (1.0 - shares))
    counts: dict[int, int] = {}

    @tf.custom_gradient
    def weighted(values: Tensor, weight: Tensor) -> Any:
        return values * weight, lambda upstream: (upstream * (gradient * weight), None)

    def thin(layer: keras.Layer, call: Callable) -> Callable:
        indices = {block.use: index for index, block in enumerate(blocks) if block.layer is layer}

        def added(values: Sequence[Tensor], *args: object, **kwargs: object) -> object:
            use = counts.get(id(layer), 0)
            counts[id(layer)] = use + 1
            if use not in indices:
                return call(values, *args, **kwargs)
            tensors, branch = list(values), blocks[indices[use]].branch
            repeated = tf.repeat(weights[:, indices[use]], tf.shape(tensors[branch])[0] // looks)
            shape = [-1, *[1] * (len(tensors[branch].shape) - 1)]
            weight = tf.cast(tf.reshape(repeated, shape), tensors[branch].dtype)  # (n, 1, ..., 1)
            tensors[branch] = weighted(tensors[branch], weight)
            return call(tensors, *args, **kwargs)

        return added

    with shadowed(list({id(block.layer): block.layer for block in blocks}.values()), thin):
        yield
