"""Information of responses about labels and inputs, and the orders of maps that it gives.

>>> from oip import mi
>>> ranking = mi.rank("model.keras", images, labels, "Conv2D_3")  # doctest: +SKIP
>>> ranking.order[:10]  # doctest: +SKIP

Names are imported when they are used; importing this package imports neither
TensorFlow, scikit-learn nor scipy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.lazy import lazy_names

if TYPE_CHECKING:
    from oip.mi.ablation import Ablation, ablate
    from oip.mi.class_pattern_results import CommonPatterns, Separation
    from oip.mi.class_patterns import common_patterns, separating
    from oip.mi.estimators.base import Estimator, LabelEstimator
    from oip.mi.estimators.density_destructor import Destructor
    from oip.mi.estimators.registry import estimator
    from oip.mi.estimators.results import Estimate
    from oip.mi.information import conditional_mutual_information, mutual_information
    from oip.mi.kernel_ranking import KernelRanking, rank_kernels
    from oip.mi.quantities import (
        entropy,
        input_information,
        kl_divergence,
        negentropy,
        total_correlation,
    )
    from oip.mi.ranking import rank
    from oip.mi.ranking_result import Ranking
    from oip.mi.redundancies import Redundancies, redundancy
    from oip.mi.selection import Selection, select
    from oip.mi.training.record import TrainingRecord
    from oip.mi.training.recorder import Recorder

__all__ = [
    "Ablation",
    "CommonPatterns",
    "Destructor",
    "Estimate",
    "Estimator",
    "KernelRanking",
    "LabelEstimator",
    "Ranking",
    "Recorder",
    "Redundancies",
    "Selection",
    "Separation",
    "TrainingRecord",
    "ablate",
    "common_patterns",
    "conditional_mutual_information",
    "entropy",
    "estimator",
    "input_information",
    "kl_divergence",
    "mutual_information",
    "negentropy",
    "rank",
    "rank_kernels",
    "redundancy",
    "select",
    "separating",
    "total_correlation",
]

_MODULES = {
    "Ablation": "oip.mi.ablation",
    "CommonPatterns": "oip.mi.class_pattern_results",
    "Destructor": "oip.mi.estimators.density_destructor",
    "Estimate": "oip.mi.estimators.results",
    "Estimator": "oip.mi.estimators.base",
    "LabelEstimator": "oip.mi.estimators.base",
    "KernelRanking": "oip.mi.kernel_ranking",
    "Ranking": "oip.mi.ranking_result",
    "Redundancies": "oip.mi.redundancies",
    "Selection": "oip.mi.selection",
    "Separation": "oip.mi.class_pattern_results",
    "Recorder": "oip.mi.training.recorder",
    "TrainingRecord": "oip.mi.training.record",
    "ablate": "oip.mi.ablation",
    "common_patterns": "oip.mi.class_patterns",
    "conditional_mutual_information": "oip.mi.information",
    "entropy": "oip.mi.quantities",
    "estimator": "oip.mi.estimators.registry",
    "input_information": "oip.mi.quantities",
    "kl_divergence": "oip.mi.quantities",
    "mutual_information": "oip.mi.information",
    "negentropy": "oip.mi.quantities",
    "rank": "oip.mi.ranking",
    "rank_kernels": "oip.mi.kernel_ranking",
    "redundancy": "oip.mi.redundancies",
    "select": "oip.mi.selection",
    "separating": "oip.mi.class_patterns",
    "total_correlation": "oip.mi.quantities",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
