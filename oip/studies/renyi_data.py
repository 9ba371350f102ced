"""Data of a paper that a study was not given."""

from __future__ import annotations

from oip.studies.frame import Folder, StudySettings, base_name

Wanted = tuple[tuple[str, str, str], ...]
"""Of each data set of a paper: what the name of its source holds, its name, and what to say."""


def not_given(folder: Folder, settings: StudySettings, wanted: Wanted) -> None:
    """Says of the paper's data that are not among the sources how they can be."""
    named = " ".join(base_name(source) for source in settings.data).lower()
    for word, what, command in wanted:
        if word not in named:
            folder.claim(
                f"Its findings on {what}.",
                f"Not among the data of this study: {command}",
                "not tested",
                "no data",
            )
