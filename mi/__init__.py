"""What a map knows: information of responses about labels, and the order it gives.

>>> import mi
>>> ranking = mi.rank("model.keras", images, labels, "Conv2D_3")  # doctest: +SKIP
>>> ranking.order[:10]  # doctest: +SKIP

Names are imported when they are used; `import mi` imports no TensorFlow, scikit-learn or scipy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.lazy import lazy_names

if TYPE_CHECKING:
    from mi.ablation import Ablation, ablate
    from mi.common_points import CommonPatterns
    from mi.entropies import entropy, input_information, negentropy
    from mi.estimators.base import Estimator, LabelEstimator
    from mi.estimators.choice import estimator
    from mi.estimators.rbig_destructor import Destructor
    from mi.estimators.results import Estimate
    from mi.information import (
        conditional_mutual_information,
        kl_divergence,
        mutual_information,
        total_correlation,
    )
    from mi.kernels import KernelRanking, rank_kernels
    from mi.patterns import common_patterns, separating
    from mi.ranking import rank
    from mi.ranking_result import Ranking
    from mi.recorder import Recorder
    from mi.redundancies import Redundancies, redundancy
    from mi.selection import Selection, select
    from mi.separation import Separation
    from mi.training_record import TrainingRecord

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

_PLACES = {
    "Ablation": "mi.ablation",
    "CommonPatterns": "mi.common_points",
    "Destructor": "mi.estimators.rbig_destructor",
    "Estimate": "mi.estimators.results",
    "Estimator": "mi.estimators.base",
    "LabelEstimator": "mi.estimators.base",
    "KernelRanking": "mi.kernels",
    "Ranking": "mi.ranking_result",
    "Redundancies": "mi.redundancies",
    "Selection": "mi.selection",
    "Separation": "mi.separation",
    "Recorder": "mi.recorder",
    "TrainingRecord": "mi.training_record",
    "ablate": "mi.ablation",
    "common_patterns": "mi.patterns",
    "conditional_mutual_information": "mi.information",
    "entropy": "mi.entropies",
    "estimator": "mi.estimators.choice",
    "input_information": "mi.entropies",
    "kl_divergence": "mi.information",
    "mutual_information": "mi.information",
    "negentropy": "mi.entropies",
    "rank": "mi.ranking",
    "rank_kernels": "mi.kernels",
    "redundancy": "mi.redundancies",
    "select": "mi.selection",
    "separating": "mi.patterns",
    "total_correlation": "mi.information",
}

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
