"""The papers' experiments, one module a paper; `oip study NAME` runs them."""

from __future__ import annotations

import importlib
from typing import Any

STUDIES = {
    "kernels": "oip.studies.kernels",
    "plane": "oip.studies.plane",
    "rbig": "oip.studies.rbig",
    "renyi": "oip.studies.renyi",
    "diffusion": "oip.studies.diffusion",
    "oip": "oip.studies.oip",
}
"""Name -> module, imported when the study is run."""


def study(name: str) -> Any:
    """The module of a study: `NAME`, `TITLE`, `SOURCE`, `MINUTES` and `run`.

    Raises:
        SettingsError: no such study.
    """
    from oip.core.errors import SettingsError, expected

    if name not in STUDIES:
        raise SettingsError(expected("study", ", ".join(STUDIES), f"'{name}'"))
    return importlib.import_module(STUDIES[name])
