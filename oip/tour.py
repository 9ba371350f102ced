"""A walk through what there is, in under a minute: `python -m oip.tour [FOLDER]`.

Trains a small network on a part of the embedded digits, looks at its layers, grows the patterns of
some maps, asks what they know, where they are in images and what two classes do not share, and
builds the gallery. Every step says the call that does it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oip.core.errors import OipError
from oip.core.files import check_writable

IMAGES = 1500
_MAPS = 16
_SAMPLES = 300


class Tour:
    """The steps of the tour, in one folder.

    Args:
        folder: where everything is written.
        tell: takes a line of text.
    """

    def __init__(self, folder: Path, tell: Any = print):
        self.folder = folder
        self._tell = tell

    def go(self) -> Path:
        """All steps; returns the page of the gallery.

        Raises:
            OipError: the folder cannot be written, or a step fails.
        """
        check_writable(self.folder)
        with self._step("train", "oip train conv-stack --data mnist-sample --out model.keras"):
            network, test = self._trained()
        with self._step("layers", "oip.Network('model.keras').layers"):
            for layer in network.layers:
                field = "x".join(map(str, layer.receptive_field))
                sides = "x".join(map(str, layer.size))
                self._say(
                    f"@{layer.index} {layer.name}: {layer.maps} maps of {sides}, field {field}"
                )
        with self._step("what maps react to", "oip.reconstruct(model, 'Conv2D_3', maps='0-15')"):
            self._patterns(network, test)
        with self._step("what maps know", "mi.rank(model, images, labels, 'Conv2D_3')"):
            self._ranked(network, test)
        with self._step("responses", "oip.responses(model, images[:3], 'Conv2D_3').plot()"):
            self._responses(network, test)
        with self._step("where patterns are", "oip.locate(model, images, 'Conv2D_3', maps=[3])"):
            self._located(network, test)
        with self._step("4 against 9", "mi.separating(model, images, labels, 'Conv2D_3', 4, 9)"):
            self._separated(network, test)
        with self._step("gallery", "gallery.build('run')"):
            page = self._gallery(test)
        self._tell("")
        self._tell(f"Everything is in {self.folder}; open {page}")
        return page

    def _trained(self) -> tuple[Any, Any]:
        import numpy as np

        from oip import models
        from oip.models.datasets import chosen
        from oip.network.network import Network

        train = models.load("mnist-sample:train")
        test = models.load("mnist-sample:test")
        part = chosen(train, np.arange(IMAGES), train.source)
        settings = models.recipe("conv-stack").settings(IMAGES, epochs=5)
        found = models.train("conv-stack", part, test, settings, self.folder / "model.keras")
        self._say(f"{IMAGES} images, {100 * found.accuracy:.1f} % of the test images right")
        return Network(found.path), test

    def _patterns(self, network: Any, test: Any) -> None:
        from oip.ascent.settings import ascent_settings
        from oip.network.layer_spec import map_numbers
        from oip.run.reconstruct import reconstruct_layers
        from oip.run.shards import layer_oips

        layer = network.find("Conv2D_3")
        settings = ascent_settings(steps=60)
        maps = map_numbers(layer, range(_MAPS))
        run = reconstruct_layers(self.folder / "run", network, [(layer, maps)], settings, test)
        oips = layer_oips(run, layer.index)
        for one in list(oips)[:4]:
            told = one.evidence()
            best = told["data_score"] or 0.0
            self._say(f"{one.label}: {one.verdict}, {one.score:.2f}; best image {best:.2f}")
        self._save(oips.plot(columns=8), "patterns.png")

    def _ranked(self, network: Any, test: Any) -> None:
        from oip.network.layer_spec import map_numbers
        from oip.workflows.rank import RankingOptions, rank_layers

        layer = network.find("Conv2D_3")
        chosen = [(layer, map_numbers(layer, range(_MAPS)))]
        options = RankingOptions(samples=_SAMPLES)
        for result in rank_layers(self.folder / "run", network, chosen, test, options):
            if isinstance(result, OipError):
                raise result
            for row in result.best.maps[:3]:
                self._say(
                    f"map {row.map}: {row.mi:.2f} of {result.best.ceiling:.2f} bits "
                    f"({row.low:.2f} to {row.high:.2f})"
                )

    def _responses(self, network: Any, test: Any) -> None:
        import numpy as np

        from oip.network.responses import responses

        fours = np.flatnonzero(test.labels == 4)[:3]
        found = responses(network, test.images[fours], "Conv2D_3", titles=["4"] * len(fours))
        self._say(f"{found.values.shape[1]} maps for {len(found)} images of a four")
        self._save(found.plot(), "responses.png")

    def _located(self, network: Any, test: Any) -> None:
        from oip.ascent.localization import locate

        found = locate(
            network, test.images, "Conv2D_3", [3], count=6, labels=test.labels, starts=2, steps=60
        )
        told = found.to_dict()["maps"][0]
        labels = " ".join(place["label"] for place in told["places"])
        self._say(f"map 3: {told['excited']:.0%} of the images excite it; most, classes {labels}")
        self._save(found.plot(), "places.png")

    def _separated(self, network: Any, test: Any) -> None:
        from oip.ascent.class_contrast import separating_oips
        from oip.mi.class_patterns import separating

        apart = separating(
            network, test.images, test.labels, "Conv2D_3", 4, 9, samples=_SAMPLES, shuffles=100
        )
        found = separating_oips(network, apart, 4, starts=2, steps=60)
        for one in found.to_dict()["maps"]:
            self._say(f"map {one['map']} responds to {one['responds_to']}: {one['effect']:+.2f}")
        self._save(found.plot(), "separating.png")

    def _gallery(self, test: Any) -> Path:
        from oip import gallery

        return gallery.build(self.folder / "run", data_images=test.images, data_labels=test.labels)

    def _save(self, figure: Any, name: str) -> None:
        from oip.core import plots

        plots.save(figure, self.folder / name)
        self._say(f"picture: {name}")

    def _say(self, text: str) -> None:
        self._tell(f"  {text}")

    @contextmanager
    def _step(self, title: str, call: str) -> Iterator[None]:
        began = time.monotonic()
        self._tell("")
        self._tell(f"{title}: {call}")
        yield
        self._tell(f"  ({time.monotonic() - began:.1f} s)")


def main(arguments: list[str] | None = None) -> int:
    """Takes the tour in the folder that is named, or in a new one; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    told = sys.argv[1:] if arguments is None else arguments
    if len(told) > 1 or any(one.startswith("-") for one in told):
        print(__doc__)
        return 0 if told[0] in ("-h", "--help") else 2
    try:
        Tour(Path(told[0]) if told else Path(tempfile.mkdtemp(prefix="oip-tour-"))).go()
    except OipError as error:
        print(f"oip: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
