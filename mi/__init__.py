"""Information of responses about labels and inputs, and the orders of maps that it gives.

>>> from oip import mi
>>> ranking = mi.rank("model.keras", images, labels, "Conv2D_3")  # doctest: +SKIP
>>> ranking.order[:10]  # doctest: +SKIP

Names are imported when they are used; importing this package imports neither
TensorFlow, scikit-learn nor scipy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.frameworks import lazy_names

if TYPE_CHECKING:
    from oip.mi.ablation import Ablation, NodeAblation, ablate, ablate_nodes
    from oip.mi.circuits import Causes, causes
    from oip.mi.class_pattern_results import CommonPatterns, Separation
    from oip.mi.class_patterns import common_patterns, separating
    from oip.mi.estimators.base import Estimator, LabelEstimator, estimator
    from oip.mi.estimators.density_destructor import Destructor, total_correlation_loss
    from oip.mi.estimators.results import Estimate
    from oip.mi.judges import Judge
    from oip.mi.kernel_ranking import KernelRanking, rank_kernels
    from oip.mi.label_free import rank_without_labels
    from oip.mi.layer_directions import Directions, directions
    from oip.mi.legibilities import Legibility, legibility
    from oip.mi.matching import LayerMatch, NetworkMatch, match
    from oip.mi.model_order import ModelOrder, order_models
    from oip.mi.polysemanticity import ImageClusters, image_clusters
    from oip.mi.quantities import (
        conditional_mutual_information,
        entropy,
        input_information,
        kl_divergence,
        mutual_information,
        negentropy,
        total_correlation,
    )
    from oip.mi.ranking import Ranking, rank
    from oip.mi.redundancies import Redundancies, redundancy
    from oip.mi.selection import Selection, select
    from oip.mi.training.record import TrainingRecord
    from oip.mi.training.recorder import Recorder

__all__ = [
    "Ablation",
    "Causes",
    "CommonPatterns",
    "Destructor",
    "Directions",
    "Estimate",
    "Estimator",
    "ImageClusters",
    "Judge",
    "KernelRanking",
    "LabelEstimator",
    "LayerMatch",
    "Legibility",
    "ModelOrder",
    "NetworkMatch",
    "NodeAblation",
    "Ranking",
    "Recorder",
    "Redundancies",
    "Selection",
    "Separation",
    "TrainingRecord",
    "ablate",
    "ablate_nodes",
    "causes",
    "common_patterns",
    "conditional_mutual_information",
    "directions",
    "entropy",
    "estimator",
    "image_clusters",
    "input_information",
    "kl_divergence",
    "legibility",
    "match",
    "mutual_information",
    "negentropy",
    "order_models",
    "rank",
    "rank_kernels",
    "rank_without_labels",
    "redundancy",
    "select",
    "separating",
    "total_correlation",
    "total_correlation_loss",
]

__getattr__, __dir__ = lazy_names(__name__)
