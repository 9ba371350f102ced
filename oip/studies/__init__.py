"""The papers' experiments, one module a paper; `oip study NAME` runs them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from oip.core.errors import SettingsError

if TYPE_CHECKING:
    from oip.studies.report import Study

STUDIES = {
    "kernels": "oip.studies.kernels",
    "plane": "oip.studies.plane",
    "rbig": "oip.studies.rbig",
    "renyi": "oip.studies.renyi",
    "diffusion": "oip.studies.diffusion",
    "oip": "oip.studies.oip",
}
"""Name -> module, imported when the study is run."""


def study(name: str) -> Study:
    """Return the module of a study.

    Raises:
        SettingsError: no such study.
    """
    if name not in STUDIES:
        raise SettingsError("study", ", ".join(STUDIES), f"'{name}'")
    return cast("Study", importlib.import_module(STUDIES[name]))
