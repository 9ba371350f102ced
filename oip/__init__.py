"""What each map of a trained Keras CNN reacts to, and how much it knows.

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
    from oip.run.reconstruct import reconstruct_into
    from oip.run.run import Run
    from oip.run.shards import layer_oips

__all__ = [
    "AscentSettings",
    "Locations",
    "MapOip",
    "Network",
    "Objective",
    "OipError",
    "Oips",
    "Responses",
    "Run",
    "SeparatingOips",
    "Translations",
    "batch",
    "layer_oips",
    "locate",
    "objective",
    "reconstruct",
    "reconstruct_into",
    "responses",
    "separating_oips",
    "translation",
]

_PLACES = {
    "AscentSettings": "oip.ascent.settings",
    "Locations": "oip.ascent.localization",
    "MapOip": "oip.ascent.results",
    "Network": "oip.network.network",
    "Objective": "oip.ascent.objectives",
    "OipError": "oip.core.errors",
    "Oips": "oip.ascent.results",
    "Responses": "oip.network.responses",
    "Run": "oip.run.run",
    "SeparatingOips": "oip.ascent.class_contrast",
    "Translations": "oip.ascent.translation",
    "batch": "oip.batch",
    "layer_oips": "oip.run.shards",
    "locate": "oip.ascent.localization",
    "objective": "oip.ascent.objectives",
    "reconstruct": "oip.ascent.reconstruction",
    "reconstruct_into": "oip.run.reconstruct",
    "responses": "oip.network.responses",
    "separating_oips": "oip.ascent.class_contrast",
    "translation": "oip.ascent.translation",
}

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
