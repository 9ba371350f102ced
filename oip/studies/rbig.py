"""Information theory in density destructors: circles destroyed, and estimates beside truths."""

from __future__ import annotations

from oip.core.progress import Progress
from oip.studies import rbig_circles, rbig_student
from oip.studies.frame import Folder, StudySettings

NAME = "rbig"
TITLE = "Density destructors: circles, total correlation and mutual information of t distributions"
SOURCE = (
    "J. E. Johnson, V. Laparra, R. Santos-Rodriguez, G. Camps-Valls, J. Malo: Information theory "
    "in density destructors. ICML workshop on invertible neural networks and normalizing flows, "
    "2019."
)
MINUTES = 5
TAKES = ()


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Both experiments of the paper; no data are needed.

    Args:
        folder: for what is computed and drawn.
        settings: `quick` has fewer samples and trials.
        progress: told circles and trials.
    """
    rbig_circles.run(folder, settings, progress)
    rbig_student.run(folder, settings, progress)
