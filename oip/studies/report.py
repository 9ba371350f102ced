"""The report of a study, and the page that links several."""

from __future__ import annotations

import datetime
import importlib.metadata
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from oip.core import files
from oip.core.errors import RunError, expected

if TYPE_CHECKING:
    from oip.studies.frame import Folder

SCHEMA = 1
_PACKAGES = ("oip", "tensorflow", "keras", "numpy", "scikit-learn")


def plain_numbers(values: Any) -> Any:
    """Numbers as JSON holds them: lists, with None for what is not finite; text stays text."""
    if isinstance(values, str):
        return values
    array = np.asarray(values)
    if array.dtype.kind in "biuUO":
        return array.tolist()
    if array.dtype.kind != "f":
        raise RunError(expected("numbers of a figure", "numbers or text", f"dtype {array.dtype}"))
    # The shortest text that gives the same number, so that single precision stays short.
    exact = array if array.dtype == np.float64 else array.astype(str).astype(np.float64)
    objects = np.array(exact, dtype=object)
    objects[~np.isfinite(exact)] = None
    return objects.tolist()


def write_report(folder: Folder, title: str, source: str) -> Path:
    """Writes numbers.json, study.json and report.html of a study; the last one last."""
    told = {
        "schema": SCHEMA,
        "study": folder.study,
        "title": title,
        "source": source,
        "settings": folder.settings.told(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "date": datetime.date.today().isoformat(),
        "took": None if folder.cost is None else folder.cost.told(),
        "claims": [asdict(claim) for claim in folder.claims],
        "notes": folder.notes,
        "figures": [asdict(drawn) for drawn in folder.figures],
    }
    files.write_json(folder.path / "numbers.json", folder.numbers)
    files.write_json(folder.path / "study.json", told)
    took = None if folder.cost is None else folder.cost.text()
    return _written(folder.path / "report.html", "report.html", {**told, "took": took})


def write_overview(out: Path, names: list[str], failures: dict[str, str]) -> Path:
    """Writes OUT/index.html, which links the reports of OUT/NAME.

    Args:
        out: the folder.
        names: studies, in the order in which they are shown; those without a report are left out
            unless they failed.
        failures: study -> what stopped it.
    """
    studies = []
    for name in names:
        path = out / name / "study.json"
        if path.exists():
            studies.append({**files.read_json(path), "failure": failures.get(name)})
        elif name in failures:
            empty = {"study": name, "title": name, "claims": [], "figures": [], "source": ""}
            studies.append({**empty, "failure": failures[name]})
    return _written(out / "index.html", "index.html", {"studies": studies})


def _written(path: Path, template: str, told: dict[str, Any]) -> Path:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files.write_text(path, environment.get_template(template).render(told) + "\n")
    return path


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
