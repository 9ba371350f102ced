"""What is measured: a layer of a network, its images and labels, checked and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import seeds
from oip.core.errors import DataError, SettingsError, expected
from oip.mi import validation

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

At = Literal["response", "block"]
_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Subject:
    """A layer's maps and the samples that they are measured on."""

    network: Network
    info: LayerInfo
    maps: np.ndarray
    """(m,) int."""
    images: np.ndarray
    """(n, h, w, b): the sample."""
    codes: np.ndarray | None
    """(n,) int: classes of the images; None where no labels were given."""
    classes: tuple[str, ...]
    places: np.ndarray
    """(n,) int: places of the images in what was given."""
    notices: tuple[str, ...]

    @classmethod
    def of(
        cls,
        model_or_path: Any,
        images: np.ndarray,
        labels: Any,
        layer: str | LayerInfo,
        *,
        maps: str | Iterable[int] | int | None = None,
        samples: int = 500,
        seed: int = 0,
        classes: Sequence[str] | None = None,
    ) -> Subject:
        """Checks everything and draws the sample: stratified with labels, else at random.

        Raises:
            ModelError, SettingsError: an unknown layer, map or number of samples.
            DataError: images or labels that cannot be used.
        """
        from oip.network.inputs import check_images
        from oip.network.layer_spec import map_numbers
        from oip.network.network import Network

        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
            raise SettingsError(expected("samples", "a whole number from 2", samples))
        network = Network.of(model_or_path, images=images)
        info = network.find(layer) if isinstance(layer, str) else layer
        numbers = map_numbers(info, maps)
        pixels = check_images(network.inputs, images)
        if labels is None:
            count = min(samples, len(pixels))
            if count < 2:
                raise DataError(expected("images", "two or more", len(pixels)))
            draw = seeds.generator(seed, "samples")
            places = np.sort(draw.permutation(len(pixels))[:count])
            return cls(network, info, numbers, pixels[places], None, (), places, ())
        known = validation.check_labels(labels, len(pixels), classes)
        picked = validation.stratified(known.codes, samples, seed)
        places = known.kept[picked]
        return cls(
            network=network,
            info=info,
            maps=numbers,
            images=pixels[places],
            codes=known.codes[picked],
            classes=known.classes,
            places=places,
            notices=known.notices,
        )

    def responses(
        self, at: At = "response", byte_budget: int = _BYTES
    ) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """Map numbers (m,) and responses (n, m, d) float32, a block of maps at a time.

        Raises:
            SettingsError: `at` is something else, or the layer has no pooling after it.
        """
        from oip.network.forward import map_blocks

        if at not in ("response", "block"):
            raise SettingsError(expected("at", "response or block", f"'{at}'"))
        return map_blocks(self.network, self.images, self.info, self.maps, at, byte_budget)

    def known_codes(self) -> np.ndarray:
        """(n,) int: the classes.

        Raises:
            DataError: no labels were given.
        """
        if self.codes is None:
            raise DataError(expected("labels", "one an image", "none"))
        return self.codes
