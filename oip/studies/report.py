"""The parts that all studies share: settings, findings, cost, and the folder of results.

A study is a module with

- `NAME`, `TITLE`, `SOURCE` (the paper), `MINUTES` (of `--quick` on two cores);
- `SCHEMA`, a number that rises when parts of an older version can no longer be used (1 if absent);
- `TAKES`, the settings of `OPTIONS` that it uses;
- `run(folder)`, which goes through the paper's experiments: it computes parts, draws figures and
  adds findings.

The texts of its findings are in findings.toml, those of its figures and notes in captions.toml. A
study reports what it measured beside what its paper says; it never asserts the paper's finding.
"""

from __future__ import annotations

import datetime
import glob
import hashlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import jinja2
import numpy as np

from oip.core import files
from oip.core.errors import DataError, RunError
from oip.core.output_formats import (
    CostFile,
    NumbersFile,
    StudyFile,
    StudyPartFile,
    StudyPartsFile,
)
from oip.core.progress import Progress, silent
from oip.core.records import Parameters
from oip.studies.findings import AGREEMENTS, Finding, plain_numbers, text_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

OPTIONS = ("data", "models", "iterations")
"""Settings that some studies use and others cannot."""
OF_DATA = ("size", "resize")
"""Settings of the images, which a study without data cannot use."""
_PACKAGES = ("oip", "tensorflow", "keras", "numpy", "scikit-learn")
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
Arrays = dict[str, np.ndarray]
Measured = Mapping[str, "ArrayLike"]
Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
Plan = TypeVar("Plan", bound="Named")
Record = TypeVar("Record")


def record_of(kind: Callable[..., Record], arrays: Arrays, prefix: str = "") -> Record:
    """Return arrays as the fields of a named tuple; those without an array keep their default.

    An array of the field `p_value` has the name "PREFIXp_value" or "PREFIXp value".
    """
    names = {name.removeprefix(prefix).replace(" ", "_"): name for name in arrays}
    return kind(**{key: arrays[names[key]] for key in kind.__annotations__ if key in names})


class Named(Protocol):
    """A setting of an experiment, such as a training."""

    @property
    def name(self) -> str:
        """The name of its files."""
        ...


class Study(Protocol):
    """The module of a study."""

    NAME: str
    TITLE: str
    SOURCE: str
    MINUTES: int

    def run(self, folder: Folder) -> None:
        """Compute parts, draw figures and add findings."""
        ...


@dataclass(frozen=True)
class StudySettings:
    """The options of a study."""

    quick: bool = False
    """Minutes on two cores, in place of the paper's sizes."""
    seed: int = 0
    data: tuple[str, ...] = ()
    """Sources of images; the study's own if empty."""
    data_dir: Path | None = None
    """Searched for data files before they are downloaded."""
    size: tuple[int, int] | None = None
    """(h, w) in pixels that images are brought to; their own if None."""
    resize: str | None = None
    """How they get that size, as for `models.load`."""
    models: str | None = None
    """Pattern of model files, of studies that compare trained networks."""
    iterations: int | None = None
    """Batches a network learns from, of studies that record a training; the study's own if None."""

    def to_dict(self) -> Parameters:
        """Return the settings as the results show them, without any folder of the user."""
        values = {name: value for name, value in asdict(self).items() if name != "data_dir"}
        for name in ("size", "resize"):
            if values[name] is None:
                del values[name]
        if self.size is not None:
            values["size"] = list(self.size)  # as JSON has it
        models = None if self.models is None else base_name(self.models)
        return {**values, "data": [base_name(source) for source in self.data], "models": models}

    def without_folders(self, text: str, *paths: Path) -> str:
        """Return a text in which the user's paths, and these, are cut to their last part."""
        candidates = (*self.data, self.models, self.data_dir, os.environ.get("OIP_DATA"), *paths)
        folders = [name for name in candidates if name is not None]
        spellings = {str(name) for name in folders} | {
            str(Path(name).absolute()) for name in folders
        }
        for path in sorted(spellings, key=len, reverse=True):
            if len(Path(path).parts) > 1:
                text = text.replace(path, base_name(path))
        return text


def base_name(path: str | Path) -> str:
    """Return the last part of a path, which results may hold; other names stay as they are."""
    name = Path(path).name
    return name if name not in ("", "..") else Path(path).resolve().name


def model_files(pattern: str) -> list[Path]:
    """Return the files of a pattern, sorted."""
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def slug(name: str) -> str:
    """Return a name as part of a file name and of a link."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


class MissingData(DataError):
    """Data that a part of a study needs and that are not available.

    `needs` names them, such as "STL-10 as class folders", `looked` where they were looked for, and
    `provide` says what a user can do.
    """

    def __init__(self, needs: str, looked: str, provide: str):
        super().__init__("data of the study", needs, f"nothing in {looked}", provide)
        self.needs, self.looked, self.provide = needs, looked, provide


@contextmanager
def measured(path: Path) -> Iterator[None]:
    """Add the cost of a block to that of earlier calls, in the file `path`.

    A block that ends by an error counts, too.
    """
    with suppress(OSError):
        _CLEAR.write_text("5")  # resets the peak that the system reports
    started = time.monotonic()
    try:
        yield
    finally:
        seconds = time.monotonic() - started
        with files.claimed(path.with_suffix(".lock"), wait=True):
            earlier = CostFile.read_if_whole(path) or CostFile()
            peaks = [peak for peak in (earlier.peak_bytes, peak_bytes()) if peak is not None]
            CostFile(
                seconds=round(earlier.seconds + seconds, 3),
                peak_bytes=max(peaks, default=None),
                calls=earlier.calls + 1,
            ).write(path)


def peak_bytes() -> int | None:
    """Return the peak memory of this process; None where the system does not report it.

    Outside Linux the peak cannot be reset: there it is that of the whole process so far.
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


@dataclass(frozen=True)
class ReportFigure:
    """One figure of a report."""

    name: str
    caption: str
    width: int  # as it is shown, in pixels
    height: int


@dataclass(eq=False)
class Folder:
    """A study's `--out`: parts that are computed once, figures, and the report.

    PATH/parts/NAME.npz    computed arrays, with a digest of the study, its settings and its data
    PATH/figures/NAME.png  NAME.svg
    PATH/numbers.json      figure -> every plotted number
    PATH/study.json        settings, versions, findings (`claims`) and notes
    PATH/report.html       all of it for people

    Several processes may work on one folder: what one of them computes, the others do not.

    Raises:
        RunError: the folder holds another study, or this one with other settings.
    """

    path: Path
    study: str
    settings: StudySettings
    schema: int = 1
    shared: Path | None = None
    """Where several studies keep what each of them can use; the folder's own parts if None."""
    progress: Progress = silent
    draws: bool = True
    """Else figures are left to another process, which works on the same folder."""
    figures: list[ReportFigure] = field(default_factory=list, init=False)
    findings: list[Finding] = field(default_factory=list, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    numbers: dict[str, dict[str, object]] = field(default_factory=dict, init=False)
    cost: CostFile | None = field(default=None, init=False)
    """Time and memory of the study, once they are known."""
    lacking: list[str] = field(default_factory=list, init=False)
    """Data that were requested and not available; with any of them the study is done in part."""

    is_new: bool = field(default=False, init=False)
    """There was no such folder."""

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        self.is_new = not self.path.exists()
        files.check_writable(self.path)
        mark = self.path / "parts" / "of.json"
        record = StudyPartsFile.of({"study": self.study, "settings": _key(self.settings)})
        try:
            existing = StudyPartsFile.read_if_there(mark)
        except RunError as error:
            hint = f"Remove this file if the folder is of the study {record.text()}."
            raise RunError(f"{error} {hint}") from error
        if existing is None:
            record.write(mark)
        elif existing != record:
            hint = "Choose another folder, or remove it."
            raise RunError(f"'{self.path}'", f"the study {record.text()}", existing.text(), hint)

    def remove_if_unused(self) -> None:
        """Remove the mark of a study that was refused before it computed anything."""
        marks = {self.file(name) for name in ("of.json", "took.json")}
        if {path for path in self.path.rglob("*") if path.is_file()} <= marks:
            with suppress(OSError):  # another process has just begun
                for path in marks:
                    path.unlink(missing_ok=True)
                self.file("of.json").parent.rmdir()
                if self.is_new:
                    self.path.rmdir()

    def part(self, name: str, compute: Callable[[], Measured], digest: str = "") -> Arrays:
        """Return `compute()`, arrays of numbers or text, which are computed once.

        An interrupted study goes on with those of the file `name`. They are computed again where it
        is damaged or of another study, setting, schema, or `digest` of data and models.
        """
        path = self.file(f"{name}.npz")
        key: dict[str, object] = {"study": self.study, "schema": self.schema}
        key["settings"] = _key(self.settings)
        if digest:
            key["of"] = digest  # as in the parts of begun studies
        part_digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        if (existing := _existing_part(path, part_digest)) is not None:
            return existing
        with files.claimed(path.with_suffix(".lock"), wait=True):
            if (existing := _existing_part(path, part_digest)) is not None:  # of another process
                return existing
            arrays = {key: np.asarray(value) for key, value in compute().items()}
            StudyPartFile(named=arrays, digest=part_digest).write(path)
        return arrays

    def parts(
        self,
        label: str,
        plans: Iterable[Plan],
        compute: Callable[[Plan], Measured],
        digest: str,
    ) -> dict[Plan, Arrays]:
        """Return `compute(plan)` of every plan, each a part LABEL/NAME."""

        def name(plan: Plan) -> str:
            return f"{label}/{plan.name}"

        def part(plan: Plan) -> Arrays:
            return self.part(name(plan), partial(compute, plan), digest)

        return self.results(label, plans, name, part)

    def results(
        self,
        label: str,
        items: Iterable[Key],
        name: Callable[[Key], str],
        compute: Callable[[Key], Result],
    ) -> dict[Key, Result]:
        """Return `compute(item)` of every item, in their order, and report how many are done.

        An item that another process computes now comes last: then its parts are there.

        Args:
            label: of the progress.
            items: of which none comes twice.
            name: of an item among the parts.
            compute: keeps its result in parts or files.
        """
        keys, later = list(items), []
        computed: dict[Key, Result] = {}
        for wait, turn in ((False, keys), (True, later)):
            for key in turn:
                self.progress(label, len(computed), len(keys))
                with files.claimed(self.file(f"{name(key)}.turn"), wait) as is_ours:
                    if is_ours:
                        computed[key] = compute(key)
                    else:
                        later.append(key)
        self.progress(label, len(computed), len(keys))
        return {key: computed[key] for key in keys}

    def tracked(self, label: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items one by one, and report how many are done."""
        items = list(items)
        self.progress(label, 0, len(items))
        for count, item in enumerate(items, 1):
            yield item
            self.progress(label, count, len(items))

    def labelled(self, prefix: str) -> Progress:
        """Return the folder's progress with a prefix before its labels."""
        return lambda label, done, total: self.progress(f"{prefix}: {label}", done, total)

    def file(self, name: str) -> Path:
        """Return the path of a model, a record or the like, which the study writes itself."""
        return self.path / "parts" / name

    def common(self, name: str) -> Path:
        """Return the path of a file that studies share; its name says its source."""
        return self.file(name) if self.shared is None else self.shared / name

    def figure(
        self,
        name: str,
        figure: Figure,
        caption: str,
        numbers: Mapping[str, ArrayLike | float | str],
    ) -> None:
        """Write a figure as PNG and SVG, with a caption and every plotted number.

        The same figure gives the same bytes. What a link cannot hold becomes "-" in the name.

        Raises:
            RunError: the name was used before.
        """
        from oip.core import plots

        name = slug(name)
        if name in self.numbers:
            raise RunError("figure of a study", "a name of its own", f"'{name}' again")
        self.numbers[name] = {key: plain_numbers(value) for key, value in numbers.items()}
        if not self.draws:
            return
        width, height = (round(float(side) * figure.dpi) for side in figure.get_size_inches())
        for ending in (".png", ".svg"):
            plots.save(figure, self.path / "figures" / f"{name}{ending}")
        caption = self.settings.without_folders(caption)
        self.figures.append(ReportFigure(name, caption, width, height))

    def add(self, *findings: Finding) -> None:
        """Add rows to the report's table.

        Raises:
            RunError: a verdict is none of `AGREEMENTS`.
        """
        texts = ("paper", "quantity", "remark", "figure", "reported", "n", "settings")
        clean = self.settings.without_folders
        for finding in findings:
            if finding.verdict not in AGREEMENTS:
                raise RunError("agreement", ", ".join(AGREEMENTS), f"'{finding.verdict}'")
            cleaned = {name: clean(getattr(finding, name)) for name in texts}
            self.findings.append(replace(finding, **cleaned))

    def text(self, name: str, /, **values: object) -> str:
        """Return a text of `captions.toml`, with values for the names in braces."""
        return text_file("captions")[self.study][name].format(**values)

    def caption(self, name: str, data: str, /, **values: object) -> str:
        """Return a text of `captions.toml` after the paper's figure of these data that it is like.

        Figures stand in the table `figures` by a part of the data's name; the last one that fits
        counts. None is named where the paper has no such figure.
        """
        number = ""
        for part, figure in text_file("captions")[self.study]["figures"].get(name, {}).items():
            if part == "any" or part in data.lower():
                number = figure
        noun = "figures" if " and " in number else "figure"
        text = self.text(name, **values)
        return f"As {noun} {number} of the paper. {text}" if number else text

    def note(self, text: str) -> None:
        """Add a paragraph to the report: a setting, a limit, something that was left out."""
        self.notes.append(self.settings.without_folders(text))

    def lacks(self, text: str) -> None:
        """Say that requested data are not available; the user reads it at the end, too."""
        if text not in self.lacking:
            self.lacking.append(text)

    def missing(self, paper: str, error: MissingData) -> None:
        """Add a finding of the paper that could not be tested for want of data."""
        self.lacks(str(error))
        looked = f"Needs {error.needs}; looked in {error.looked}. {error.provide}"
        self.add(Finding(paper, "not tested", remark=looked, settings="no data"))

    def not_given(self, data: Iterable[tuple[str, str, str]]) -> None:
        """Add a finding "not tested" for each data set of the paper that is not a source.

        They are given as part of the source's name in lower case, the data, the command for them.
        """
        sources = " ".join(base_name(source) for source in self.settings.data).lower()
        for word, name, command in data:
            if word not in sources:
                remark = f"Not among the data of this study: {command}"
                paper = f"Its findings on {name}."
                self.add(Finding(paper, "not tested", remark=remark, settings="no data"))

    def finish(self, title: str, source: str) -> Path:
        """Write numbers.json, study.json and report.html, the last one last; return its path."""
        values = {
            "study": self.study,
            "title": title,
            "source": source,
            "settings": self.settings.to_dict(),
            "versions": {name: _version(name) for name in _PACKAGES},
            "date": datetime.date.today().isoformat(),
            "took": None if self.cost is None else self.cost.to_dict(),
            "claims": [finding.to_dict() for finding in self.findings],
            "notes": self.notes,
            "figures": [asdict(figure) for figure in self.figures],
        }
        NumbersFile(figures=self.numbers).write(self.path / "numbers.json")
        record = StudyFile.of(values)
        record.write(self.path / "study.json")
        took = None if self.cost is None else self.cost.text()
        return _rendered(
            self.path / "report.html", "report.html", {**record.content(), "took": took}
        )


def write_overview(out: Path, names: Sequence[str], failures: Mapping[str, str]) -> Path:
    """Write OUT/index.html, which links the reports of OUT/NAME.

    Studies without a report are left out, unless `failures` says what stopped them, or the results
    of an earlier call are damaged.
    """
    studies = []
    for name in names:
        path = out / name / "study.json"
        record, failure = StudyFile.read_if_whole(path), failures.get(name)
        if record is not None:
            studies.append({**record.to_dict(), "failure": failure})
        elif failure is not None or path.exists():
            empty = {"study": name, "title": name, "claims": [], "figures": [], "source": ""}
            failure = failure or f"{name}/study.json is damaged: do this study again."
            studies.append({**empty, "failure": failure})
    return _rendered(out / "index.html", "index.html", {"studies": studies})


def _existing_part(path: Path, digest: str) -> Arrays | None:
    part = StudyPartFile.read_if_whole(path) if path.exists() else None
    return part.named if part is not None and part.digest == digest else None


def _key(settings: StudySettings) -> Parameters:
    """Return the settings that change the results; more iterations continue from fewer."""
    return {name: value for name, value in settings.to_dict().items() if name != "iterations"}


def _rendered(path: Path, template: str, record: Mapping[str, object]) -> Path:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files.write_text(path, environment.get_template(template).render(record) + "\n")
    return path


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
