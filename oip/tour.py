"""A walk through the program, in about a minute: `python -m oip.tour [FOLDER]`.

It trains a small network on a part of the embedded digits, lists its layers, grows the patterns of
some maps, measures what the maps know, where they are found in images and what separates two
classes, and builds the gallery. Each step prints the call that does it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import OipError
from oip.core.files import check_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oip.models import Dataset
    from oip.network.network import Network

_LAYER = "Conv2D_3"
_MAPS = f"{_LAYER}:0-15"
_SAMPLES = 300


class Tour:
    """The steps of the tour, in one folder.

    Args:
        folder: where everything is written.
        images: how many the network learns from; as many at most test it.
        print_line: called with each line of text.
    """

    def __init__(
        self, folder: Path, images: int = 1500, print_line: Callable[[str], object] = print
    ):
        self.folder = folder
        self._images = images
        self._print = print_line

    def walk(self) -> Path:
        """Take all steps and return the page of the gallery.

        Raises:
            OipError: the folder cannot be written, or a step fails.
        """
        check_writable(self.folder)
        with self._step("train", "oip train conv-stack --data mnist-sample --out model.keras"):
            network, test = self._train()
        with self._step("layers", "oip.Network('model.keras').layers"):
            for layer in network.layers:
                field = "x".join(map(str, layer.receptive_field or ()))
                sides = "x".join(map(str, layer.size))
                self._note(
                    f"@{layer.index} {layer.name}: {layer.maps} maps of {sides}, field {field}"
                )
        with self._step("patterns of maps", f"oip.reconstruct_into('run', model, '{_MAPS}')"):
            self._reconstruct(network, test)
        with self._step(
            "information of maps", f"oip.rank_into('run', model, '{_MAPS}', data=test)"
        ):
            self._rank(network, test)
        with self._step("responses", f"oip.responses(model, images[:3], '{_LAYER}').plot()"):
            self._draw_responses(network, test)
        with self._step("patterns in images", f"oip.locate(model, images, '{_LAYER}', maps=[3])"):
            self._locate(network, test)
        with self._step("4 against 9", f"mi.separating(model, images, labels, '{_LAYER}', 4, 9)"):
            self._separate(network, test)
        with self._step("gallery", "gallery.build('run')"):
            page = self._build_gallery(test)
        self._print("")
        self._print(f"Everything is in {self.folder}; open {page}")
        return page

    def _train(self) -> tuple[Network, Dataset]:
        from oip import models
        from oip.models.datasets import take_images
        from oip.network.network import Network

        train = models.load("mnist-sample:train")
        test = models.load("mnist-sample:test")
        test = take_images(test, np.arange(min(len(test), self._images)), test.source)
        some_train = take_images(train, np.arange(self._images), train.source)
        settings = models.recipe("conv-stack").settings(self._images, epochs=5)
        result = models.train("conv-stack", some_train, test, settings, self.folder / "model.keras")
        self._note(f"{self._images} images, accuracy {100 * result.accuracy:.1f} % on test images")
        return Network(result.path), test

    def _reconstruct(self, network: Network, test: Dataset) -> None:
        import oip

        run = oip.reconstruct_into(self.folder / "run", network, _MAPS, data=test, steps=60)
        oips = oip.layer_oips(run, network.find(_LAYER).index)
        for pattern in list(oips)[:4]:
            best = pattern.grounds.data_score or 0.0
            self._note(
                f"{pattern.label}: {pattern.verdict}, {pattern.score:z.2f}; best image {best:z.2f}"
            )
        self._save(oips.plot(columns=8), "patterns.png")

    def _rank(self, network: Network, test: Dataset) -> None:
        import oip

        (ranked,) = oip.rank_into(self.folder / "run", network, _MAPS, data=test, samples=_SAMPLES)
        for row in ranked.best.maps[:3]:
            self._note(
                f"map {row.map}: {row.mi:z.2f} of {ranked.best.ceiling:z.2f} bits "
                f"({row.low:z.2f} to {row.high:z.2f})"
            )

    def _draw_responses(self, network: Network, test: Dataset) -> None:
        import oip

        fours = np.flatnonzero(test.labels == 4)[:3]
        result = oip.responses(network, test.images[fours], _LAYER, titles=["4"] * len(fours))
        self._note(f"{result.values.shape[1]} maps for {len(result)} images of a four")
        self._save(result.plot(), "responses.png")

    def _locate(self, network: Network, test: Dataset) -> None:
        import oip

        locations = oip.locate(
            network, test.images, _LAYER, [3], count=6, labels=test.labels, starts=2, steps=60
        )
        labels = " ".join(locations.to_pandas()["label"])
        share = float(locations.excited[0])
        self._note(f"map 3: {share:.0%} of the images excite it; most, classes {labels}")
        self._save(locations.plot(), "places.png")

    def _separate(self, network: Network, test: Dataset) -> None:
        import oip
        from oip import mi

        separation = mi.separating(
            network,
            test.images,
            test.required_labels(),
            _LAYER,
            4,
            9,
            samples=_SAMPLES,
            shuffles=100,
        )
        patterns = oip.separating_oips(network, separation, 4, starts=2, steps=60)
        rows = zip(patterns.maps, patterns.favored, patterns.effect, strict=True)
        for map_index, name, effect in rows:
            self._note(f"map {map_index} responds to {name}: {effect:+z.2f}")
        self._save(patterns.plot(), "separating.png")

    def _build_gallery(self, test: Dataset) -> Path:
        from oip import gallery

        return gallery.build(self.folder / "run", data_images=test.images, data_labels=test.labels)

    def _save(self, figure: Figure, name: str) -> None:
        from oip.core import plots

        plots.save(figure, self.folder / name)
        self._note(f"picture: {name}")

    def _note(self, text: str) -> None:
        self._print(f"  {text}")

    @contextmanager
    def _step(self, title: str, call: str) -> Iterator[None]:
        started = time.monotonic()
        self._print("")
        self._print(f"{title}: {call}")
        yield
        self._print(f"  ({time.monotonic() - started:.1f} s)")


def main(arguments: list[str] | None = None, images: int = 1500) -> int:
    """Take the tour in the folder that is named, or in a new one; return the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments_given = sys.argv[1:] if arguments is None else arguments
    if len(arguments_given) > 1 or any(word.startswith("-") for word in arguments_given):
        print(__doc__)
        return 0 if arguments_given[0] in ("-h", "--help") else 2
    folder = Path(arguments_given[0] if arguments_given else tempfile.mkdtemp(prefix="oip-tour-"))
    try:
        Tour(folder, images).walk()
    except OipError as error:
        print(f"oip: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
