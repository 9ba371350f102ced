"""Images of 8 bits in WebP: exact on their levels, within half a level else, and never trusted."""

from __future__ import annotations

import io

import numpy as np
import pytest

from oip.core.packed_images import PackedImages, is_packed

SHAPE = (70, 90)
LOW, HIGH = -2.1, 2.6


def waves(*lead, bands=3, seed=0):
    """Return smooth images (*lead, 70, 90, bands) from -2 to 2."""
    random = np.random.default_rng(seed)
    rows, columns = (np.arange(side) / 9 for side in SHAPE)
    phases = random.uniform(0, 6, (*lead, 1, 1, bands))
    waves = np.sin(rows[:, None, None] + phases) + np.cos(columns[None, :, None] * 2 + phases)
    return waves.astype(np.float16)


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_images_come_back_within_half_a_level_of_their_own_range(bands):
    images = waves(2, 3, bands=bands)
    packed = PackedImages.of(images)
    result = packed.unpacked((*SHAPE, bands))
    assert (result.shape, result.dtype) == (images.shape, np.float16)
    level = np.ptp(images.astype(float), (2, 3), keepdims=True) / 255
    assert np.all(np.abs(result.astype(float) - images) <= 0.5 * level + 0.002)
    np.testing.assert_array_equal(
        PackedImages.of(result).unpacked((*SHAPE, bands)), result
    )  # kept once more, they stay as they are
    np.testing.assert_array_equal(packed.first_images().unpacked((*SHAPE, bands)), result[:, :1])
    assert packed.pictures.tobytes() == PackedImages.of(images).pictures.tobytes()
    assert len(packed.pictures) < images.nbytes / 4


def test_images_on_the_levels_of_a_picture_come_back_exactly():
    ends = np.full(3, LOW), np.full(3, HIGH)
    levels = np.random.default_rng(1).integers(20, 200, (1, 2, *SHAPE, 3))
    images = (LOW + levels * ((HIGH - LOW) / 255)).astype(np.float32).astype(np.float16)
    np.testing.assert_array_equal(PackedImages.of(images, ends).unpacked(images.shape[2:]), images)
    outside = images + np.float16(3.0)
    assert np.all(PackedImages.of(outside, ends).ends[..., 1, :] == outside.max((2, 3)))


def test_flat_images_and_such_that_are_not_finite_stay_so():
    images = waves(3, 1)
    images[0] = 0.25
    images[1, 0, 3, 4] = np.nan
    result = PackedImages.of(images).unpacked(images.shape[2:])
    assert np.all(result[0] == 0.25)
    assert np.isnan(result[1]).all()
    assert np.isfinite(result[2]).all()


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_reduced_images_are_enlarged_and_alike(bands):
    images = waves(1, 4, bands=bands)
    packed = PackedImages.of(images, quality=85, side=64)
    result = packed.unpacked((*SHAPE, bands), enlarge=True)
    assert np.abs(result.astype(float) - images).mean() < 0.08
    assert len(packed.pictures) < len(PackedImages.of(images).pictures) / 3
    with pytest.raises(ValueError, match="a picture of"):
        packed.unpacked((*SHAPE, bands))


def test_only_what_gets_smaller_is_packed():
    assert is_packed((224, 224, 3))
    assert is_packed((224, 224, 1))
    assert not is_packed((28, 28, 1))
    assert not is_packed((64, 64, 3))
    assert not is_packed((100_000, 3))
    assert not is_packed((1, 100_000, 1))


def _bomb() -> bytes:
    """Return a lossless picture of 16,000 x 16,000 pixels, but for its pixels."""
    sides = (15999 | 15999 << 14).to_bytes(4, "little")
    return b"RIFF\x40\0\0\0WEBPVP8L\x30\0\0\0\x2f" + sides + bytes(40)


def _png() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (90, 70)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("content", [_bomb, _png, lambda: b"RIFF" * 12, lambda: b""])
def test_other_files_are_refused_before_they_are_decoded(content, monkeypatch):
    from PIL import Image

    file = content()
    opened = []
    monkeypatch.setattr(Image, "open", lambda *args, **options: opened.append(1))
    pictures = np.frombuffer(file, np.uint8)
    ends = np.zeros((1, 2, 3), np.float32)
    packed = PackedImages(pictures, np.array([[len(file)]]), ends)
    with pytest.raises(ValueError, match="picture"):
        packed.unpacked((*SHAPE, 3))
    assert not opened


def test_damage_is_an_error():
    images = waves(1, 2)
    whole = PackedImages.of(images)
    for damaged in (
        whole._replace(sizes=whole.sizes + 1),
        whole._replace(sizes=whole.sizes * np.array([[[-1], [3]]])),
        whole._replace(pictures=whole.pictures[:-9]),
        whole._replace(ends=whole.ends[..., :2]),
    ):
        with pytest.raises(ValueError, match="pictures of"):
            damaged.unpacked(images.shape[2:])
    broken = whole.pictures.copy()
    broken[60:] = 0
    with pytest.raises(OSError):
        whole._replace(pictures=broken).unpacked(images.shape[2:])


def test_more_than_the_limit_is_refused(monkeypatch):
    images = waves(1, 2)
    packed = PackedImages.of(images)
    monkeypatch.setenv("OIP_READ_LIMIT", "0.00005")
    with pytest.raises(OSError, match="limit"):
        packed.unpacked(images.shape[2:])
