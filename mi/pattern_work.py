"""What both kinds of patterns are made from: a sample, and the layer's responses to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mi.class_images import ClassImages, class_images, judged
from mi.pattern_cases import Cases, chosen_cases
from oip.core.errors import DataError, SettingsError, expected
from oip.core.progress import Progress

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo
    from oip.network.view import Network

At = Literal["response", "block"]
BYTES = 32 << 20
"""Responses that are held at a time, where a map does not need more."""


class PatternWork:
    """The sample, the layer's responses to it block by block, and what is shown of them."""

    def __init__(
        self,
        model_or_path: Any,
        images: np.ndarray,
        labels: Any,
        layer: str | LayerInfo,
        first: str | int,
        second: str | int | None,
        maps: str | Iterable[int] | int | None,
        samples: int,
        seed: int,
        at: At,
        classes: Sequence[str] | None,
        progress: Progress,
    ):
        from oip.network.selection import map_numbers
        from oip.network.view import Network

        if at not in ("response", "block"):
            raise SettingsError(expected("at", "response or block", f"'{at}'"))
        self.network: Network = Network.of(model_or_path, images=images)
        self.info = self.network.find(layer) if isinstance(layer, str) else layer
        self.maps = map_numbers(self.info, maps)
        self.at: At = at
        self.progress = progress
        self.found: ClassImages = class_images(
            self.network,
            images,
            labels,
            first,
            second,
            samples=samples,
            seed=seed,
            classes=classes,
        )
        self.judgement = judged(self.network, self.found)
        names = [self.found.first] + ([self.found.second] if self.found.second else [])
        self.rows, self.hard = chosen_cases(self.found, self.judgement, names)
        self._usable: list[np.ndarray] = []
        self._case_values: list[np.ndarray] = []

    @property
    def size(self) -> tuple[int, ...]:
        """Nodes of a map along each axis."""
        return self.info.size if self.at == "response" else self.info.block_size or ()

    def blocks(self) -> Iterator[np.ndarray]:
        """Responses (n, m, d) of some maps at a time; zeros for maps that are not finite.

        Raises:
            DataError: no map is finite.
        """
        from oip.network.responses import map_blocks

        label, done = f"{self.info.name}: patterns", 0
        self.progress(label, 0, len(self.maps))
        for block, values in map_blocks(
            self.network, self.found.pixels, self.info, self.maps, self.at, BYTES
        ):
            usable = np.asarray(np.isfinite(values).all(axis=(0, 2)))
            self._usable.append(usable)
            self._case_values.append(values[self.rows])
            yield values if usable.all() else np.where(usable[:, None], values, 0.0)
            done += len(block)
            self.progress(label, done, len(self.maps))
        if not np.concatenate(self._usable).any():
            what, hint = f"responses of layer '{self.info.name}'", "Look for NaN in the weights."
            raise DataError(expected(what, "finite numbers", "NaN or infinity in every map", hint))

    def known(self, values: np.ndarray) -> np.ndarray:
        """(m, ...): NaN for maps that are not finite."""
        usable = np.concatenate(self._usable)
        return np.where(usable.reshape(-1, *(1,) * (values.ndim - 1)), values, np.nan)

    def placed(self, values: np.ndarray) -> np.ndarray:
        """(m, d) as (m, *nodes), NaN for maps that are not finite."""
        return self.known(values).reshape(len(values), *self.size)

    def cases(self, order: np.ndarray) -> Cases:
        """The images to show, with the responses of the maps in an order of rows."""
        values = np.concatenate(self._case_values, axis=1)[:, order]
        rows = self.rows
        predicted, own = np.full(len(rows), "", "<U1"), np.full(len(rows), np.nan)
        if self.judgement is not None and self.found.outputs is not None:
            probabilities, names = self.judgement
            predicted, own = names[rows], probabilities[rows, self.found.outputs[rows]]
        return Cases(
            places=self.found.places[rows],
            labels=self.found.labels[rows],
            hard=self.hard,
            predicted=predicted,
            own=own,
            images=self.found.pixels[rows],
            values=values.reshape(len(rows), len(order), *self.size),
            bgr=self.network.inputs.bgr,
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader has to know."""
        told = list(self.found.notices)
        if self.judgement is None:
            told.append(
                "No hard cases: the model's output does not tell the labelled classes apart."
            )
        unusable = self.maps[~np.concatenate(self._usable)]
        if unusable.size:
            told.append(f"{unusable.size} maps have responses that are not finite.")
        return tuple(told)


def node_parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Responses (n, m, d) some nodes at a time, (n, m, k), whose numbers in double precision fit
    the same bytes."""
    step = max(1, BYTES // (8 * values.shape[0] * values.shape[1]))
    for first in range(0, values.shape[2], step):
        yield values[:, :, first : first + step]
