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
    from mi.estimators.base import Estimate, LabelEstimator
    from mi.estimators.choice import estimator
    from mi.information import entropy, input_information, mutual_information
    from mi.ranking import rank
    from mi.ranking_result import Ranking

__all__ = [
    "Estimate",
    "LabelEstimator",
    "Ranking",
    "entropy",
    "estimator",
    "input_information",
    "mutual_information",
    "rank",
]

_PLACES = {
    "Estimate": "mi.estimators.base",
    "LabelEstimator": "mi.estimators.base",
    "Ranking": "mi.ranking_result",
    "entropy": "mi.information",
    "estimator": "mi.estimators.choice",
    "input_information": "mi.information",
    "mutual_information": "mi.information",
    "rank": "mi.ranking",
}

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
