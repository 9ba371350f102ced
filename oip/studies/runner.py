"""Studies run one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oip import studies
from oip.core import files
from oip.core.errors import DataError, OipError, SettingsError
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
    given = (name for name in (*OPTIONS, *OF_DATA) if getattr(settings, name))
    return tuple(name for name in given if name not in _takes(module))


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
            both = f"'{by_name[name]}' and '{source}'"
            hint = "Results are named after the last part of the path."
            raise DataError("option 'data'", "sources of different names", both, hint)
        by_name[name] = source
    if sources and not any(
        is_known(s) or (s and (Path(s).is_file() or Path(s).is_dir())) for s in sources
    ):
        models.load(sources[0])  # its error lists the known sources and suggests a similar name


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
) -> StudyOutcome:
    """Run one study and write its report in its folder.

    Where nothing could be done for want of data the study was stopped, and the report says so too.
    `print_line` receives remarks, such as what the study took; for `out` see `Folder`.

    Raises:
        OipError: what stopped the study, or an option that it does not use.
    """
    check([name], settings)
    outcome = StudyOutcome(out / "report.html")
    _add_study(outcome, name, out, settings, progress, None, print_line)
    return outcome


def run_several(
    names: Sequence[str],
    out: Path,
    settings: StudySettings,
    progress: Progress,
    print_line: PrintLine = lambda text: None,
) -> StudyOutcome:
    """Run studies in OUT/NAME, and write a page that links all reports.

    Trainings that several need are kept in OUT/shared. A study that fails does not stop the others,
    even where the program is at fault: then OUT/NAME/crash.txt holds the traceback.

    Raises:
        OipError: none of the studies can use the settings.
    """
    check(names, settings)
    outcome = StudyOutcome(out / "index.html")
    for name in names:
        (out / name / CRASHED).unlink(missing_ok=True)
        try:
            _add_study(outcome, name, out / name, settings, progress, out / _SHARED, print_line)
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
) -> None:
    """Run one study without the options that it does not use, and record its outcome."""
    module = studies.study(name)
    unused = ignored(module, settings)
    settings = replace(settings, **{option: getattr(StudySettings(), option) for option in unused})
    folder = Folder(out, name, settings, getattr(module, "SCHEMA", 1), shared, progress)
    for option in unused:
        folder.note(f"This study does not use the option '{option}'.")
        print_line(f"{name}: this study does not use the option '{option}'; it runs without it.")
    with measured(took := folder.file("took.json")):
        try:
            module.run(folder)
        except MissingData as error:
            folder.missing("Everything that this study measures.", error)
            outcome.stopped[name] = str(error)
    lacking = [text for text in folder.lacking if text != outcome.stopped.get(name)]
    if lacking:
        outcome.lacking[name] = lacking
    folder.cost = CostFile.read(took)
    outcome.took[name] = folder.cost.to_dict()
    folder.finish(module.TITLE, module.SOURCE)
    print_line(f"{name}: took {folder.cost.text()}")
