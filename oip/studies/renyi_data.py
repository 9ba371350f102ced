"""Images that a study is given, some of them, and those that it was not given."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.studies.frame import Folder, StudySettings

Wanted = tuple[tuple[str, str, str], ...]
"""Of each data set of a paper: what the name of its source holds, its name, and what to say."""


def limited(data: Any, count: int | None) -> Any:
    """The first images of a data set whose order is random; all of them if `count` is None."""
    from models.datasets import chosen

    if count is None or len(data) <= count:
        return data
    return chosen(data, np.arange(count), f"{data.source}, the first {count}")


def not_given(folder: Folder, settings: StudySettings, wanted: Wanted) -> None:
    """Says of the paper's data that are not among the sources how they can be."""
    named = " ".join(settings.data).lower()
    for word, what, command in wanted:
        if word not in named:
            folder.claim(
                f"Its findings on {what}.",
                f"Not among the data of this study: {command}",
                "not tested",
                "no data",
            )
