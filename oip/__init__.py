"""The patterns that the maps of a trained Keras CNN react to, and how much each map knows.

>>> import oip
>>> oips = oip.reconstruct("model.keras", "Conv2D_3", maps=range(8))  # doctest: +SKIP
>>> oips[3].show()  # doctest: +SKIP

Names are imported when they are used; `import oip` imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.lazy import lazy_names

if TYPE_CHECKING:
    from oip import batch
    from oip.ascent.class_contrast import SeparatingOips, separating_oips
    from oip.ascent.localization import Locations, locate
    from oip.ascent.objectives import Objective, objective
    from oip.ascent.reconstruction import reconstruct
    from oip.ascent.results import MapOip, Oips
    from oip.ascent.settings import AscentSettings
    from oip.ascent.translation import Translations, translation
    from oip.core.errors import OipError
    from oip.network.network import Network
    from oip.network.responses import Responses, responses
    from oip.run.run import Run
    from oip.run.shards import layer_oips
    from oip.workflows.demo import run_demo
    from oip.workflows.prune import PrunedModel, prune
    from oip.workflows.rank import (
        RankedLayer,
        RankingOptions,
        ablate_into,
        kernels_into,
        rank_into,
        redundancy_into,
    )
    from oip.workflows.reconstruct import reconstruct_into
    from oip.workflows.top_maps import TopMaps, top_maps

    __version__: str

__all__ = [
    "AscentSettings",
    "Locations",
    "MapOip",
    "Network",
    "Objective",
    "OipError",
    "Oips",
    "PrunedModel",
    "RankedLayer",
    "RankingOptions",
    "Responses",
    "Run",
    "SeparatingOips",
    "TopMaps",
    "Translations",
    "ablate_into",
    "batch",
    "kernels_into",
    "layer_oips",
    "locate",
    "objective",
    "prune",
    "rank_into",
    "reconstruct",
    "reconstruct_into",
    "redundancy_into",
    "responses",
    "run_demo",
    "separating_oips",
    "top_maps",
    "translation",
]

_MODULES = {
    "AscentSettings": "oip.ascent.settings",
    "Locations": "oip.ascent.localization",
    "MapOip": "oip.ascent.results",
    "Network": "oip.network.network",
    "Objective": "oip.ascent.objectives",
    "OipError": "oip.core.errors",
    "Oips": "oip.ascent.results",
    "PrunedModel": "oip.workflows.prune",
    "RankedLayer": "oip.workflows.rank",
    "RankingOptions": "oip.workflows.rank",
    "Responses": "oip.network.responses",
    "Run": "oip.run.run",
    "SeparatingOips": "oip.ascent.class_contrast",
    "TopMaps": "oip.workflows.top_maps",
    "Translations": "oip.ascent.translation",
    "ablate_into": "oip.workflows.rank",
    "batch": "oip.batch",
    "kernels_into": "oip.workflows.rank",
    "layer_oips": "oip.run.shards",
    "locate": "oip.ascent.localization",
    "objective": "oip.ascent.objectives",
    "prune": "oip.workflows.prune",
    "rank_into": "oip.workflows.rank",
    "reconstruct": "oip.ascent.reconstruction",
    "reconstruct_into": "oip.workflows.reconstruct",
    "redundancy_into": "oip.workflows.rank",
    "responses": "oip.network.responses",
    "run_demo": "oip.workflows.demo",
    "separating_oips": "oip.ascent.class_contrast",
    "top_maps": "oip.workflows.top_maps",
    "translation": "oip.ascent.translation",
}
"""Public name -> the module that holds it."""

_lazy_name, __dir__ = lazy_names(__name__, _MODULES)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("oip")
        except PackageNotFoundError:  # run from a checkout that is not installed
            return "0+unknown"
    return _lazy_name(name)
