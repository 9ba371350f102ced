"""What all studies share: settings, the folder of results, and data that may be missing.

A study is a module with

- `NAME`, `TITLE`, `SOURCE` (the paper), `MINUTES` (of `--quick` on two cores);
- `SCHEMA`, a number that rises when parts of an older version can no longer be used (1 if absent);
- `TAKES`, the settings of `OPTIONS` that it heeds;
- `run(folder, settings, progress)`, which computes parts, draws figures and makes claims.

It never asserts what its paper found; it reports what was found here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import files
from oip.core.errors import DataError, RunError, expected

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from oip.studies.cost import Cost

SCHEMA = 1
_DIGEST = "_digest"
OPTIONS = ("data", "models", "iterations")
"""Settings that some studies heed and others cannot."""
Agreement = Literal["yes", "partly", "no", "not tested"]
AGREEMENTS = ("yes", "partly", "no", "not tested")


@dataclass(frozen=True)
class StudySettings:
    """What a user can say about a study."""

    quick: bool = False
    """Minutes on two cores, in place of the paper's sizes."""
    seed: int = 0
    data: tuple[str, ...] = ()
    """Sources of images; the study's own if empty."""
    data_dir: Path | None = None
    """Searched for data files before they are downloaded."""
    models: str | None = None
    """Pattern of model files, of studies that compare trained networks."""
    iterations: int | None = None
    """Batches a network learns from, of studies that watch a training; the study's own if None."""

    def told(self) -> dict[str, Any]:
        """The settings as the results show them; where the data lie is nobody's business."""
        told = {name: value for name, value in asdict(self).items() if name != "data_dir"}
        models = None if self.models is None else base_name(self.models)
        return {**told, "data": tuple(base_name(one) for one in self.data), "models": models}

    def without_folders(self, text: str, *others: Path) -> str:
        """A text for the results: of what the user named, only the last part of its path.

        Args:
            text: as an error says it, for example.
            others: more paths, such as that of the results.
        """
        named = [*self.data, self.models, self.data_dir, os.environ.get("OIP_DATA"), *others]
        given = [Path(one) for one in named if one is not None]
        every = [*(str(one) for one in named), *(str(one.absolute()) for one in given)]
        paths = {one for one in every if len(Path(one).parts) > 1}
        for path in sorted(paths, key=len, reverse=True):
            text = text.replace(path, base_name(path))
        return text


def base_name(path: str | Path) -> str:
    """The last part of a path, which results may hold; a name that is no path stays as it is."""
    name = Path(path).name
    return name if name not in ("", "..") else Path(path).resolve().name


def slug(name: str) -> str:
    """A name as part of a file's name and of a link."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


class MissingData(DataError):
    """Data that a part of a study needs and that could not be had.

    Args:
        needs: the data, such as "STL-10 as class folders".
        looked: where they were looked for, in words or as a path.
        provide: what a user can do.
    """

    def __init__(self, needs: str, looked: str, provide: str):
        super().__init__(expected("data of the study", needs, f"nothing in {looked}", provide))
        self.needs, self.looked, self.provide = needs, looked, provide


@dataclass(frozen=True)
class Claim:
    """One row of a report's table."""

    paper: str
    """What the paper says."""
    found: str
    """What was found here."""
    agrees: Agreement
    sure: str
    """How sure, and why: seeds, samples, the size of the effect beside its spread."""


@dataclass(frozen=True)
class Drawn:
    """One figure of a report."""

    name: str
    caption: str
    width: int
    """As it is shown, in pixels."""
    height: int


@dataclass(eq=False)
class Folder:
    """A study's `--out`: parts that are computed once, figures, and the report.

    PATH/parts/NAME.npz    what was computed, with the digest of what it was computed for
    PATH/figures/NAME.png  NAME.svg
    PATH/numbers.json      figure -> every plotted number
    PATH/study.json        settings, versions, claims and notes
    PATH/report.html       all of it for people

    Raises:
        RunError: the folder holds another study, or this one with other settings.
    """

    path: Path
    study: str
    settings: StudySettings
    schema: int = 1
    shared: Path | None = None
    """Where several studies keep what each of them can use; the folder's own parts if None."""
    figures: list[Drawn] = field(default_factory=list, init=False)
    claims: list[Claim] = field(default_factory=list, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    numbers: dict[str, Any] = field(default_factory=dict, init=False)
    cost: Cost | None = field(default=None, init=False)
    """What the study took, once it is known."""
    lacking: list[str] = field(default_factory=list, init=False)
    """What was asked for and could not be had; with any of it the study is done in part only."""

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        files.check_writable(self.path)
        mark = self.path / "parts" / "of.json"
        told = {"schema": SCHEMA, "study": self.study, "settings": _key(self.settings)}
        if mark.exists():
            found = files.read_json(mark)
            if found != told:
                raise RunError(
                    expected(
                        f"'{self.path}'",
                        f"the study {_shown(told)}",
                        _shown(found),
                        "Choose another folder, or remove it.",
                    )
                )
        else:
            files.write_json(mark, told)

    def part(
        self, name: str, compute: Callable[[], dict[str, np.ndarray]], of: str = ""
    ) -> dict[str, np.ndarray]:
        """Arrays that are computed once; an interrupted study goes on with what is there.

        Args:
            name: of the file, without its ending; may hold folders.
            compute: makes the arrays, of numbers or text.
            of: digest of the data and models that they are made from (`Images.digest`,
                `files.sha256`); empty if of none.

        Returns:
            The arrays, read from disk where they were computed for the same study, settings,
            schema, data and models; a damaged file is computed again.
        """
        path = self.file(f"{name}.npz")
        wanted = self._digest(of)
        if path.exists():
            try:
                found = files.read_arrays(path)
            except RunError:
                found = {}
            if str(found.pop(_DIGEST, "")) == wanted:
                return found
        arrays = {key: np.asarray(value) for key, value in compute().items()}
        files.write_arrays(path, {**arrays, _DIGEST: np.array(wanted)})
        return arrays

    def file(self, name: str) -> Path:
        """A place for a model, a record or the like, which the study writes itself."""
        return self.path / "parts" / name

    def common(self, name: str) -> Path:
        """A place for what other studies can use too; its name must tell what it was made from."""
        return self.file(name) if self.shared is None else self.shared / name

    def figure(
        self,
        name: str,
        figure: Figure,
        caption: str,
        numbers: Mapping[str, ArrayLike | float | str],
    ) -> None:
        """Writes a figure as PNG and SVG; the same figure gives the same bytes.

        Args:
            name: of the files; what a link cannot hold becomes "-".
            figure: a `matplotlib.figure.Figure`, made without pyplot.
            caption: what is shown, of what, with which settings and units.
            numbers: every plotted number.

        Raises:
            RunError: the name was used before.
        """
        from oip.core import plots
        from oip.studies.report import plain_numbers

        name = slug(name)
        if name in self.numbers:
            raise RunError(expected("figure of a study", "a name of its own", f"'{name}' again"))
        self.numbers[name] = {key: plain_numbers(value) for key, value in numbers.items()}
        width, height = (round(float(side) * figure.dpi) for side in figure.get_size_inches())
        for ending in (".png", ".svg"):
            plots.save(figure, self.path / "figures" / f"{name}{ending}")
        shown = self.settings.without_folders(caption)
        self.figures.append(Drawn(name, shown, width, height))

    def claim(self, paper: str, found: str, agrees: Agreement, sure: str) -> None:
        """One row of the report's table: what the paper says, what was found, how sure."""
        if agrees not in AGREEMENTS:
            raise RunError(expected("agreement", ", ".join(AGREEMENTS), f"'{agrees}'"))
        paper, found, sure = map(self.settings.without_folders, (paper, found, sure))
        self.claims.append(Claim(paper, found, agrees, sure))

    def note(self, text: str) -> None:
        """A paragraph of the report: a setting, a limit, something that was left out."""
        self.notes.append(self.settings.without_folders(text))

    def lacks(self, text: str) -> None:
        """Something that was asked for and could not be had; also said to the user at the end."""
        if text not in self.lacking:
            self.lacking.append(text)

    def missing(self, paper: str, error: MissingData) -> None:
        """A finding of the paper that could not be tested for want of data."""
        self.lacks(str(error))
        looked = f"Needs {error.needs}; looked in {error.looked}. {error.provide}"
        self.claim(paper, looked, "not tested", "no data")

    def finish(self, title: str, source: str) -> Path:
        """Writes numbers.json, study.json and report.html; returns the path of the report."""
        from oip.studies.report import write_report

        return write_report(self, title, source)

    def _digest(self, of: str) -> str:
        told: dict[str, Any] = {"study": self.study, "schema": self.schema}
        told["settings"] = _key(self.settings)
        if of:
            told["of"] = of
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _key(settings: StudySettings) -> dict[str, Any]:
    """Settings that make other results; more iterations go on from fewer."""
    told = {name: value for name, value in settings.told().items() if name != "iterations"}
    return {**told, "data": list(told["data"])}


def _shown(told: Any) -> str:
    if not isinstance(told, dict) or "study" not in told:
        return "something else"
    words = [f"{name} {value}" for name, value in told.get("settings", {}).items() if value]
    return f"{told['study']} ({', '.join(words) or 'as it is'})"
