"""What all studies share: settings, the folder of results, and data that may be missing.

A study is a module with

- `NAME`, `TITLE`, `SOURCE` (the paper), `MINUTES` (of `--quick` on two cores);
- `SCHEMA`, a number that rises when parts of an older version can no longer be used (1 if absent);
- `TAKES`, the settings of `OPTIONS` that it heeds;
- `run(folder, settings, progress)`, which computes parts, draws figures and makes claims.

It never asserts what its paper found; it reports what was found here.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2
import numpy as np

from oip.core import files
from oip.core.errors import DataError, RunError, expected
from oip.mi.estimators.results import SATURATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

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


TOO_SHORT = 5_000
"""Iterations under which nothing is said about the late training."""
RISING = 0.5
"""Rank correlation with the iteration above which something rises."""
LATE = 0.75
"""Share of a training after which it is late."""
_SPREADS = 2.0


def agreement(outcomes: Iterable[bool | None]) -> Agreement:
    """Of several looks at one finding: all for it, all against it, or else partly.

    Args:
        outcomes: True, False, or None where a look does not decide. Where none does, within
            their spread or at the ceiling, nothing was tested.
    """
    told = [None if one is None else bool(one) for one in outcomes]
    if all(one is None for one in told):
        return "not tested"
    if all(told):
        return "yes"
    return "no" if all(one is False for one in told) else "partly"


def larger(first: float, second: float, spread: float) -> bool | None:
    """Whether `first` is the larger one.

    None where the difference is within two spreads, or one of them is unknown.
    """
    difference = first - second
    if not np.isfinite([difference, spread]).all() or abs(difference) <= _SPREADS * spread:
        return None
    return bool(difference > 0)


def all_of(outcomes: Iterable[bool | None]) -> bool | None:
    """Of a finding in several parts: True if all hold, False if one does not, else None."""
    told = list(outcomes)
    if any(one is False for one in told):
        return False
    return None if not told or any(one is None for one in told) else True


def at_ceiling(value: float, ceiling: float) -> bool:
    """Whether an estimate is so near to the most there can be that it says nothing of an order."""
    return bool(value >= SATURATED * ceiling)


def late(values: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over the last quarter of a training.

    Args:
        values: (t,), one a record.
        steps: (t,) rising iterations of the records; of one record alone the deviation is 0.
    """
    last = np.asarray(values, float)[steps >= LATE * steps[-1]]
    return float(last.mean()), float(last.std(ddof=1)) if len(last) > 1 else 0.0


def trend(values: np.ndarray) -> float:
    """Spearman's correlation with the order of the records."""
    from oip.mi.ranking import spearman

    return spearman(np.arange(len(values), dtype=float), np.asarray(values, float))


def drift(values: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Rise of the straight line through some records, and their standard deviation about it.

    Args:
        values: (t,), one a record.
        steps: (t,) rising iterations of the records.

    Returns:
        Rise from the first to the last record, and the deviation; NaN of fewer than three records,
        of which nothing could be told.
    """
    if len(values) < 3:
        return math.nan, math.nan
    times = (steps - steps[0]) / (steps[-1] - steps[0])
    slope, start = np.polyfit(times, np.asarray(values, float), 1)
    about = np.asarray(values, float) - (start + slope * times)
    return float(slope), float(np.sqrt((about**2).sum() / (len(values) - 2)))


def second_half(values: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """The `drift` of the records from the middle of a training on."""
    some = steps >= steps[-1] / 2
    return drift(np.asarray(values)[some], steps[some])


def rises_all_along(
    values: np.ndarray, steps: np.ndarray, ceiling: float
) -> tuple[bool | None, bool | None]:
    """Whether something rises in order with the iterations; and whether in the second half too.

    Records are denser at first, so that an order over all of them could be that of the start alone.
    None where a rise is within its spread, and for both where the end is at the ceiling.
    """
    if at_ceiling(values[-1], ceiling):
        return None, None
    end, spread = late(values, steps)
    rise, about = second_half(values, steps)
    whole = all_of([larger(end, values[0], spread), larger(trend(values), RISING, 0.0)])
    return whole, larger(rise, 0.0, about)


def peak(values: np.ndarray) -> tuple[float, int]:
    """The highest mean of three records in a row, and the place of the middle one.

    The highest single record of a noisy curve lies above its end by chance alone.
    """
    if len(values) < 3:
        return math.nan, 0
    means = np.convolve(np.asarray(values, float), np.full(3, 1 / 3), "valid")
    place = int(np.argmax(means))
    return float(means[place]), place + 1


def shown(value: float, form: str = ".2f") -> str:
    """A number as text; what could not be computed, of too few records, is unknown."""
    return format(value, form) if np.isfinite(value) else "unknown"


def by_width(texts: dict[str, str]) -> str:
    """One text for each width of the kernels; said once where they are the same."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{width} width: {text}" for width, text in texts.items())


_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass
class Cost:
    """Of all calls that a study needed: one that is interrupted and goes on needs several."""

    seconds: float = 0.0
    peak_bytes: int | None = None
    """None where the system does not tell."""
    calls: int = 0

    def told(self) -> dict[str, float | int | None]:
        """As JSON holds it, whole milliseconds."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def text(self) -> str:
        """Such as "312 s, 1.4 GiB in 2 calls"."""
        memory = "" if self.peak_bytes is None else f", {self.peak_bytes / 2**30:.1f} GiB"
        calls = f" in {self.calls} calls" if self.calls > 1 else ""
        return f"{self.seconds:.0f} s{memory}{calls}"


@contextmanager
def measured(path: Path) -> Iterator[Cost]:
    """Adds what its block takes to what earlier calls took, and keeps the sum.

    Args:
        path: of the JSON that keeps it; written when the block ends, by an error too.

    Yields:
        The cost, complete once the block has ended.
    """
    try:
        told = files.read_json(path)
        cost = Cost(float(told["seconds"]), told["peak_bytes"], int(told["calls"]))
    except (RunError, KeyError, TypeError, ValueError):
        cost = Cost()
    with suppress(OSError):
        _CLEAR.write_text("5")  # from here on the system tells the peak anew
    began = time.monotonic()
    try:
        yield cost
    finally:
        peak = peak_bytes()
        known = [one for one in (cost.peak_bytes, peak) if one is not None]
        cost.seconds += time.monotonic() - began
        cost.peak_bytes = max(known, default=None)
        cost.calls += 1
        files.write_json(path, cost.told())


def peak_bytes() -> int | None:
    """The most memory that this process held, as far as the system tells; None where it does not.

    Where it cannot be asked for anew (outside Linux), that of the whole process so far.
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10
