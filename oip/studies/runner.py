"""Studies run one after the other, by one process or several."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from oip import studies
from oip.core import files
from oip.core.checks import check_path
from oip.core.errors import DataError, OipError, SettingsError, notice
from oip.core.frameworks import usable_cores
from oip.core.output_formats import CostFile
from oip.core.progress import Progress
from oip.studies.data import check_both_parts, is_known
from oip.studies.report import (
    OF_DATA,
    OPTIONS,
    Folder,
    MissingData,
    Study,
    StudySettings,
    base_name,
    measured,
    slug,
    write_overview,
)

CRASHED = "crash.txt"
"""In a study's folder: the traceback of a defect of the program."""
_SHARED = "shared"
PrintLine = Callable[[str], object]


def check(names: Sequence[str], settings: StudySettings) -> None:
    """Refuse settings that no study can use.

    Raises:
        SettingsError: an option that none of the studies uses.
        DataError: a source of one part, two sources of one name, or none that exists.
    """
    unused = [ignored(studies.study(name), settings) for name in names]
    for option in (*OPTIONS, *OF_DATA):
        if names and all(option in options for options in unused):
            users = [name for name in studies.STUDIES if option in _takes(studies.study(name))]
            needs = f"a study that uses it ({', '.join(users) or 'no study'})"
            raise SettingsError(f"option '{option}'", needs, " ".join(names))
    _check_sources(settings.data)


def ignored(module: Study, settings: StudySettings) -> tuple[str, ...]:
    """Return the options that the user gave and the study does not use."""
    options = (name for name in (*OPTIONS, *OF_DATA) if getattr(settings, name))
    return tuple(name for name in options if name not in _takes(module))


def _takes(module: Study) -> tuple[str, ...]:
    options: tuple[str, ...] = getattr(module, "TAKES", ())
    return (*options, *OF_DATA) if "data" in options else options


def _check_sources(sources: Sequence[str]) -> None:
    from oip import models

    by_name: dict[str, str] = {}
    for source in sources:
        check_both_parts(source)
        name = slug(base_name(source))
        if name in by_name:
            both_sources = f"'{by_name[name]}' and '{source}'"
            hint = "Results are named after the last part of the path."
            raise DataError("option 'data'", "sources of different names", both_sources, hint)
        by_name[name] = source
    if sources and not any(map(_is_available, sources)):
        models.load(sources[0])  # its error lists the known sources and suggests a similar name


def _is_available(source: str) -> bool:
    """Return whether a source is one by name, a file or a folder; a FIFO would be waited for."""
    if is_known(source) or not source:
        return is_known(source)
    path = check_path("option 'data'", source)
    return path.is_file() or path.is_dir()


@dataclass
class StudyOutcome:
    """The results of one or several studies."""

    page: Path
    """The report, or the page that links several."""
    stopped: dict[str, str] = field(default_factory=dict)
    """Study -> why it was not finished."""
    lacking: dict[str, list[str]] = field(default_factory=dict)
    """Study -> data that were requested and not available, where the study went on without them."""
    took: dict[str, dict[str, float | int | None]] = field(default_factory=dict)
    """Study -> `seconds`, `peak_bytes` and `calls`, as in its study.json."""

    @property
    def whole(self) -> bool:
        """Whether everything was done that was requested."""
        return not self.stopped and not self.lacking


def run_study(
    name: str,
    out: Path,
    settings: StudySettings,
    progress: Progress,
    print_line: PrintLine = lambda text: None,
    workers: int = 1,
) -> StudyOutcome:
    """Run one study and write its report in its folder.

    Where nothing could be done for want of data the study was stopped, and the report says so too.
    `print_line` receives remarks, such as what the study took; for `out` see `Folder`.

    Args:
        workers: processes, of which this is one. They share the parts of the study and the cores;
            the time and memory in the report are this one's.

    Raises:
        OipError: what stopped the study, or an option that it does not use.
    """
    check([name], settings)
    outcome = StudyOutcome(out / "report.html")
    _add_study(outcome, name, out, settings, progress, None, print_line, workers)
    return outcome


def run_several(
    names: Sequence[str],
    out: Path,
    settings: StudySettings,
    progress: Progress,
    print_line: PrintLine = lambda text: None,
    workers: int = 1,
) -> StudyOutcome:
    """Run studies in OUT/NAME, and write a page that links all reports.

    Trainings that several need are kept in OUT/shared. A study that fails does not stop the others,
    even where the program is at fault: then OUT/NAME/crash.txt holds the traceback. For `workers`
    see `run_study`.

    Raises:
        OipError: none of the studies can use the settings.
    """
    check(names, settings)
    outcome = StudyOutcome(out / "index.html")
    for name in names:
        (out / name / CRASHED).unlink(missing_ok=True)
        try:
            shared = out / _SHARED
            _add_study(outcome, name, out / name, settings, progress, shared, print_line, workers)
        except OipError as error:
            outcome.stopped[name] = str(error)
        except Exception as error:
            files.write_text(out / name / CRASHED, traceback.format_exc())
            outcome.stopped[name] = (
                f"The program failed ({type(error).__name__}: {error}); {name}/{CRASHED} says "
                f"where. Please report it."
            )
        reasons = {
            study: settings.without_folders(text, out) for study, text in outcome.stopped.items()
        }
        write_overview(out, list(dict.fromkeys((*studies.STUDIES, *names))), reasons)
    return outcome


def _add_study(
    outcome: StudyOutcome,
    name: str,
    out: Path,
    settings: StudySettings,
    progress: Progress,
    shared: Path | None,
    print_line: PrintLine,
    workers: int,
) -> None:
    """Run one study without the options that it does not use, and record its outcome."""
    module = studies.study(name)
    unused = ignored(module, settings)
    settings = replace(settings, **{option: getattr(StudySettings(), option) for option in unused})
    folder = Folder(out, name, settings, getattr(module, "SCHEMA", 1), shared, progress)
    for option in unused:
        folder.note(f"This study does not use the option '{option}'.")
        print_line(f"{name}: this study does not use the option '{option}'; it runs without it.")
    took = folder.file("took.json")
    try:
        with measured(took), _parallel_workers(folder, workers):
            try:
                module.run(folder)
            except MissingData as error:
                folder.missing("Everything that this study measures.", error)
                outcome.stopped[name] = str(error)
    except OipError:
        folder.remove_if_unused()
        raise
    lacking = [text for text in folder.lacking if text != outcome.stopped.get(name)]
    if lacking:
        outcome.lacking[name] = lacking
    folder.cost = CostFile.read(took)
    outcome.took[name] = folder.cost.to_dict()
    folder.finish(module.TITLE, module.SOURCE)
    print_line(f"{name}: took {folder.cost.text()}")


@contextmanager
def _parallel_workers(folder: Folder, workers: int) -> Iterator[None]:
    """Let other processes compute parts of the study meanwhile; all of them share the cores."""
    if workers == 1:
        yield
        return
    if not files.HAS_LOCKS:
        raise SettingsError("option 'workers'", "1, as this system has no file locks", workers)
    from oip.batch.executors import Pool

    threads = max(1, usable_cores() // workers)
    pool = Pool([None] * (workers - 1), threads)
    of_folder = folder.path, folder.study, folder.settings, folder.schema, folder.shared
    with _environment(OIP_THREADS=str(threads), TF_FORCE_GPU_ALLOW_GROWTH="true"):
        try:
            helpers = [pool.submit(_compute_parts, *of_folder) for _ in range(workers - 1)]
            yield
            for helper in helpers:
                if error := helper.exception():
                    notice(f"{folder.study}: {error}; the study was done without it.")
        finally:
            pool.close()


def _compute_parts(
    path: Path, name: str, settings: StudySettings, schema: int, shared: Path | None
) -> None:
    """Compute parts of a study for another process, which draws and reports, errors too."""
    folder = Folder(path, name, settings, schema, shared, draws=False)
    with warnings.catch_warnings(), suppress(OipError):
        warnings.simplefilter("ignore")
        studies.study(name).run(folder)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for this process and those that it begins."""
    old_values = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in old_values.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
