"""The patterns that the maps of a trained Keras CNN react to, and how much each map knows.

>>> import oip
>>> oips = oip.reconstruct("model.keras", "Conv2D_3", maps=range(8))  # doctest: +SKIP
>>> oips[3].show()  # doctest: +SKIP

Names are imported when they are used; `import oip` imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.frameworks import lazy_names

if TYPE_CHECKING:
    from oip import batch
    from oip.ascent.class_contrast import SeparatingOips, separating_oips
    from oip.ascent.decomposition import Decompositions, decompose
    from oip.ascent.localization import Locations, locate
    from oip.ascent.objectives import Objective, objective
    from oip.ascent.reconstruction import reconstruct
    from oip.ascent.results import MapOip, Oips
    from oip.ascent.settings import AscentSettings
    from oip.ascent.translation import Translations, translation
    from oip.core.errors import OipError
    from oip.network.network import Network
    from oip.network.responses import Responses, responses
    from oip.run.check import RunStatus, repair_run, run_status, verify_run
    from oip.run.citations import citations
    from oip.run.compare import Comparison, compare_runs
    from oip.run.export import export_arrays, export_pictures
    from oip.run.merge import merge_runs
    from oip.run.run import Run
    from oip.run.shards import layer_oips
    from oip.workflows.best_preset import reconstruct_best_into
    from oip.workflows.demo import DemoResult, run_demo, run_pretrained_demo
    from oip.workflows.directions import directions_into
    from oip.workflows.judge import judge_into
    from oip.workflows.layer_records import RankedLayer
    from oip.workflows.locate import LocatedPatterns, locate_into
    from oip.workflows.match import match_into
    from oip.workflows.prune import PrunedModel, prune
    from oip.workflows.rank import (
        RankingOptions,
        kernels_into,
        rank_into,
        redundancy_into,
    )
    from oip.workflows.reconstruct import reconstruct_into
    from oip.workflows.silencing import ablate_into, causes_figure, trace_into
    from oip.workflows.top_maps import TopMaps, top_maps

    __version__: str

__all__ = [
    "AscentSettings",
    "Comparison",
    "Decompositions",
    "DemoResult",
    "LocatedPatterns",
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
    "RunStatus",
    "SeparatingOips",
    "TopMaps",
    "Translations",
    "ablate_into",
    "batch",
    "causes_figure",
    "citations",
    "compare_runs",
    "decompose",
    "directions_into",
    "export_arrays",
    "export_pictures",
    "judge_into",
    "kernels_into",
    "layer_oips",
    "locate",
    "locate_into",
    "match_into",
    "merge_runs",
    "objective",
    "prune",
    "rank_into",
    "reconstruct",
    "reconstruct_best_into",
    "reconstruct_into",
    "redundancy_into",
    "repair_run",
    "responses",
    "run_demo",
    "run_pretrained_demo",
    "run_status",
    "separating_oips",
    "top_maps",
    "trace_into",
    "translation",
    "verify_run",
]

_lazy_name, __dir__ = lazy_names(__name__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("oip")
        except PackageNotFoundError:  # run from a checkout that is not installed
            return "0+unknown"
    return _lazy_name(name)
