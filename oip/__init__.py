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
    from oip.ascent.contrasts import SeparatingOips, separating_oips
    from oip.ascent.locations import Locations, locate
    from oip.ascent.objectives import Objective, objective
    from oip.ascent.reconstruction import reconstruct
    from oip.ascent.results import MapOip, Oips
    from oip.ascent.settings import AscentSettings
    from oip.ascent.translations import Translations, translation
    from oip.core.errors import OipError
    from oip.network.shown_responses import Responses, responses
    from oip.network.view import Network
    from oip.run.directory import Run
    from oip.run.merging import layer_oips
    from oip.run.recording import reconstruct_into

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
    "Locations": "oip.ascent.locations",
    "MapOip": "oip.ascent.results",
    "Network": "oip.network.view",
    "Objective": "oip.ascent.objectives",
    "OipError": "oip.core.errors",
    "Oips": "oip.ascent.results",
    "Responses": "oip.network.shown_responses",
    "Run": "oip.run.directory",
    "SeparatingOips": "oip.ascent.contrasts",
    "Translations": "oip.ascent.translations",
    "batch": "oip.batch",
    "layer_oips": "oip.run.merging",
    "locate": "oip.ascent.locations",
    "objective": "oip.ascent.objectives",
    "reconstruct": "oip.ascent.reconstruction",
    "reconstruct_into": "oip.run.recording",
    "responses": "oip.network.shown_responses",
    "separating_oips": "oip.ascent.contrasts",
    "translation": "oip.ascent.translations",
}

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
