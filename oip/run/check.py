"""The check of a run: whether every file is whole and fits the others; its status."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from oip.ascent.reconstruction import SHARD
from oip.ascent.results import REASONS, VERDICTS, Oips
from oip.core import files, formats, html, layer_formats
from oip.core.errors import RunError
from oip.core.formats import FailureFile, LayerRecord
from oip.core.images import is_whole_picture
from oip.core.progress import Progress, silent
from oip.core.records import FileRecord, Part, copy_of
from oip.run.run import NAME, Run, RunFolder
from oip.run.shards import maps_in_shards, measure_stability, read_shard, stability_file

if TYPE_CHECKING:
    from pandas import DataFrame

PAGE = "gallery.html"
"""A gallery in one file."""
_KINDS: dict[str, type[FileRecord]] = {
    "run.json": formats.RunFile,
    "run.copy.json": formats.RunFile,
    "finished.json": formats.FinishedFile,
    "record.json": formats.TrainingRecordFile,
    "stability.json": layer_formats.StabilityFile,
    "softmax.npz": layer_formats.ClassProbabilitiesFile,
    "ranking.json": layer_formats.RankingFile,
    "responses.npz": layer_formats.ResponsesFile,
    "kernels.json": layer_formats.KernelsFile,
    "redundancy.json": layer_formats.RedundancyFile,
    "redundancy.npz": layer_formats.RedundancyArrays,
    "ablation.json": layer_formats.AblationFile,
    "legibility.json": layer_formats.LegibilityFile,
    "causes.json": formats.CausesFile,
    **dict.fromkeys(formats.PARTNERS, formats.PartnersFile),
    "decomposition.npz": formats.DecompositionFile,
    "clusters.json": layer_formats.ClustersFile,
    "presets.json": layer_formats.PresetsFile,
    "directions.npz": layer_formats.DirectionsFile,
}


@dataclass(frozen=True)
class Checked:
    """The result of checking one file of a run."""

    file: str
    """Its path within the run."""
    problem: str
    """The reason why it cannot be used; empty if it can."""
    read: bool = True
    """It was read; other kinds of files are only listed."""
    has_checksum: bool = True
    """It has a checksum, or needs none; of another only the form is known to be right."""


def verify_run(run: Run | str | Path, progress: Progress = silent) -> list[Checked]:
    """Check every file of a run: that it can be read whole, and that it fits the run.

    Shards are compared with run.json and each other: their layer, their block, the maps in it, the
    shapes and one key for all. Files that belong to them or to a ranking and are not there are
    named, too. One shard is in memory at a time. Nothing is changed. What killed processes left is
    listed without being read; `clear_leftovers` removes it.
    """
    run = Run.of(run, tidy=False)
    paths = {path for path in run.path.rglob("*") if not path.is_dir() or has_name_of_file(path)}
    paths.add(run.path / NAME)
    if files.has_checksum(run.path / NAME):  # else of an earlier version
        paths.add(copy_of(run.path / NAME))
    layers = {run.folder(layer.index): layer for layer in run.layers}
    made_files = run.record.made or {}
    for folder, layer in layers.items():
        names = [*_files_of_layer(run, folder, layer.index), *made_files.get(folder.name, ())]
        paths |= {folder / name for name in names if files.is_plain_path(name)}
    gallery = run.path / "gallery"
    pictures = _gallery_digests(gallery)
    paths |= set(pictures)
    if files.has_checksum(gallery / "maps.json"):
        paths.add(gallery / "drawn.json")
    keys: dict[bool, str] = {}  # of shards of maps, and of objectives: the first that can be read
    results = []
    for count, path in enumerate(sorted(paths), 1):
        name = path.relative_to(run.path).as_posix()
        if not os.path.lexists(path):
            results.append(Checked(name, "missing"))
        elif path in pictures:
            is_whole = path.is_file() and files.sha256(path) == pictures[path]
            results.append(Checked(name, "" if is_whole else "damaged"))
        else:
            results.append(_check_file(run, path, layers.get(path.parent), keys))
        progress("files", count, len(paths))
    return results


def has_name_of_file(path: Path) -> bool:
    """Return whether a folder has the name of a file that oip writes, in whose place it is."""
    return path.name in _KINDS or bool(re.fullmatch(r"(shard|kernels)-\d+\.(npz|png)", path.name))


def _gallery_digests(folder: Path) -> dict[Path, str]:
    """Return the SHA-256 of the files of a gallery; a gallery of earlier versions has none."""
    record = formats.DrawnFile.read_if_whole(folder / "drawn.json")
    names = record.files if record is not None else {}
    return {folder / name: digest for name, digest in names.items() if files.is_plain_path(name)}


def _files_of_layer(run: Run, folder: Path, index: int) -> list[str]:
    """Return the files that have to be in a layer's folder, for those that are in it."""
    names = []
    if run.shards(index):
        names.append("stability.json")
        if files.has_checksum(folder / "stability.json"):  # earlier versions made it of some models
            names.append("softmax.npz")
    for pair in (("ranking.json", "responses.npz"), ("redundancy.json", "redundancy.npz")):
        names += pair if any((folder / name).is_file() for name in pair) else ()
    kernels = layer_formats.KernelsFile.read_if_whole(folder / "kernels.json")
    return names + [
        f"kernels-{map_index:04d}.png" for map_index in (kernels.numbers() if kernels else ())
    ]


def _check_file(run: Run, path: Path, layer: LayerRecord | None, keys: dict[bool, str]) -> Checked:
    name = path.relative_to(run.path).as_posix()
    is_picture = layer is not None and path.suffix == ".png"
    is_unfinished = any(part.startswith(".") for part in path.relative_to(run.path).parts)
    is_page = name == PAGE
    if is_unfinished or not (path.suffix in (".npz", ".json") or is_picture or is_page):
        return Checked(name, "", read=False)
    has_checksum = True
    try:
        if is_page:
            return Checked(name, "", read=files.check_page(path))
        if not is_picture:
            has_checksum = files.has_checksum(path)
        problems = file_problems(run, path, layer, keys)
    except RunError as error:
        problems = [str(error)]
    return Checked(name, "; ".join(problems), has_checksum=has_checksum)


def file_problems(
    run: Run, path: Path, layer: LayerRecord | None, keys: dict[bool, str]
) -> list[str]:
    """Return what is wrong with an `.npz`, a JSON file or a picture in the folder of a layer.

    Args:
        run: the run that the file is in.
        path: of the file.
        layer: in whose folder it is.
        keys: of the shards before it: of maps, and of objectives.

    Raises:
        RunError: it cannot be read, or is of something else.
    """
    if layer is None and path.parent.parent == run.path / "layers":
        return ["of no layer that run.json names"]
    if path.suffix == ".png":
        problem = "a folder" if path.is_dir() else "damaged"
        return [] if is_whole_picture(path) else [problem]
    if layer is not None and path.name.startswith("shard-") and path.suffix == ".npz":
        return list(_shard_problems(run, path, layer, keys))
    if path.name not in _KINDS:
        (files.read_arrays if path.suffix == ".npz" else files.read_json)(path)
        return []
    return list(_record_problems(run, path, _KINDS[path.name].read(path), layer))


def repair_run(run: Run | str | Path) -> list[str]:
    """Restore run.json from its copy (or its copy from it), and measure missing stability again.

    Stability is measured for layers whose shards are all whole.

    Returns:
        Paths within the run of the files that were written.
    """
    run = Run.of(run)
    names = []
    if not run.record.is_at(run.path / NAME):
        run.save()
        names.append(NAME)
    settings = run.record.settings.reconstruct or {}
    seed = settings.get("seed")
    for index in run.reconstructed():
        with suppress(RunError):  # a damaged shard
            if stability_file(run, index) is None:
                measure_stability(run, index, seed if isinstance(seed, int) else 0)
                path = run.folder(index) / "stability.json"
                names.append(path.relative_to(run.path).as_posix())
    return names


def _shard_problems(
    run: Run, path: Path, layer: LayerRecord, keys: dict[bool, str]
) -> Iterator[str]:
    """Yield what is wrong with a shard that can be read: it does not fit run.json or the others.

    Args:
        keys: of shards of maps (False) and of objectives (True); the first one sets it.
    """
    oips, key = read_shard(path)
    if key != keys.setdefault(layer.objectives is not None, key):
        yield "made in another way than the shards before it"
    if (oips.index, oips.layer) != (layer.index, layer.name):
        yield f"of layer @{oips.index} '{oips.layer}', not @{layer.index} '{layer.name}'"
    maps = oips.maps
    block = path.stem.removeprefix("shard-")
    if not block.isdecimal() or not np.all(maps // SHARD == int(block)):
        yield "maps of another block"
    if not np.all(np.diff(maps) > 0):
        yield "maps out of order"
    if len(maps) and maps.max() >= layer.maps:
        yield f"map {maps.max()} of a layer of {layer.maps}"
    if run.record.input is not None:
        yield from _shape_problems(oips, tuple(run.record.input.shape))
    for codes, names in ((oips.verdict_codes, VERDICTS), (oips.reasons, REASONS)):
        if codes.size and not (codes.min() >= 0 and codes.max() < len(names)):
            yield "unknown verdicts or reasons"
    alive = np.isfinite(oips.scores[:, 0])
    if not np.isfinite(oips.images[alive, 0].astype(np.float32)).all():
        yield "images that are not finite"


def _shape_problems(oips: Oips, shape: tuple[int, ...]) -> Iterator[str]:
    if oips.images.shape[2:] != shape:
        yield f"images of shape {oips.images.shape[2:]}, not {shape}"
    if oips.snapshots.shape[2:] != shape:
        yield "snapshots of another shape"


def _record_problems(
    run: Run, path: Path, record: FileRecord, layer: LayerRecord | None
) -> Iterator[str]:
    """Yield what is wrong with a record that can be read: it is of another layer or other maps."""
    if layer is None:
        return
    index = getattr(record, "index", layer.index)
    if index != layer.index:
        yield f"of layer @{index}"
    maps: list[int] | None = None
    if isinstance(record, (layer_formats.StabilityFile, layer_formats.ClassProbabilitiesFile)):
        with suppress(RunError):  # the shard's own problem
            maps = maps_in_shards(run, layer.index).tolist()
            is_stability = isinstance(record, layer_formats.StabilityFile)
            if is_stability and record.maps == maps and stability_file(run, layer.index) is None:
                yield "made for another number of starts than the shards hold"
    elif isinstance(record, layer_formats.ResponsesFile):
        maps = _numbers(layer_formats.RankingFile, path.with_name("ranking.json"))
    elif isinstance(record, layer_formats.RedundancyArrays):
        maps = _numbers(layer_formats.RedundancyFile, path.with_name("redundancy.json"))
    if maps is not None and sorted(map(int, getattr(record, "maps", maps))) != maps:
        yield "made for other maps than are there; the command that made the run renews it"


def _numbers(kind: type[layer_formats.KeyedFile], path: Path) -> list[int] | None:
    record = kind.read_if_whole(path)
    return None if record is None else record.numbers()


ERROR = ".error.json"
"""The end of the names of files that say what failed."""


class FailedWork(Part, frozen=True, kw_only=True):
    """A file that could not be made."""

    file: str
    error: str
    attempts: int


class LayerStatus(Part, frozen=True, kw_only=True):
    """The results of a layer that are in a run."""

    index: int
    layer: str
    maps: int | None
    """In the model; None where the run was never started."""
    oips: int
    """Maps with an OIP."""
    verdicts: dict[str, int]
    """How many maps have each."""
    shards: int
    damaged: list[str]
    """Names of shards, and of the files beside them, that cannot be read."""
    stability: bool
    """It is known for these maps."""
    ranked: bool
    judged: int
    """Units with a legibility."""
    failed: list[FailedWork]
    requested: int | UnsetType = msgspec.field(default=UNSET, name="asked")
    """Maps that a batch is to reconstruct."""

    @property
    def has_problems(self) -> bool:
        """Whether something failed or cannot be read."""
        return bool(self.failed or self.damaged)


class RunStatus(Part, frozen=True, kw_only=True):
    """The status of every layer of a run's model, as `oip status --json` prints it."""

    run: str
    model: str
    layers: list[LayerStatus]

    @property
    def verdicts(self) -> Counter[str]:
        """Number of maps by verdict."""
        return sum((Counter(layer.verdicts) for layer in self.layers), Counter[str]())

    def to_pandas(self) -> DataFrame:
        """Return a row for each layer."""
        import pandas

        return pandas.DataFrame([layer.to_dict() for layer in self.layers])

    def __repr__(self) -> str:
        maps = sum(layer.oips for layer in self.layers)
        ranked = sum(layer.ranked for layer in self.layers)
        return (
            f"<RunStatus '{self.run}': {len(self.layers)} layers, {maps} maps with an OIP, "
            f"{ranked} layers ranked>"
        )

    def _repr_html_(self) -> str:
        names = ("index", "layer", "maps", "oips", "verdicts", "stability", "ranked", "judged")
        rows = [
            (
                *(layer.index, layer.layer, layer.maps, layer.oips),
                ", ".join(f"{count} {name}" for name, count in layer.verdicts.items()),
                *(layer.stability, layer.ranked, layer.judged),
            )
            for layer in self.layers
        ]
        return html.block(f"{self.run}: {self.model}", html.table(names, rows))


def run_status(run: Run | str | Path) -> RunStatus:
    """Return the status of every layer of a run's model.

    Only the small arrays of the shards are read; `verify_run` reads all.

    >>> oip.run_status("runs/mine").verdicts  # doctest: +SKIP
    Counter({'responsive': 128})
    """
    run = Run.of(run)
    return RunStatus(
        run=str(run.path),
        model=run.record.model.name,
        layers=[layer_status(run, layer.index, layer.name, layer.maps) for layer in run.layers],
    )


def failures(folder: Path) -> list[FailedWork]:
    """Return what failed in a layer's folder and is still missing."""
    result = []
    for path in sorted(folder.glob(f"*{ERROR}")):
        name = path.name.removesuffix(ERROR)
        record = FailureFile.read_if_whole(path) or FailureFile(
            error="unknown: the record of the failure is damaged", attempts=0
        )
        result.append(
            FailedWork(
                file=name + (".npz" if name.startswith("shard-") else ".json"),
                error=record.error,
                attempts=record.attempts,
            )
        )
    return result


_STATUS_FILES = (
    "ranking.json",
    "stability.json",
    "legibility.json",
    "responses.npz",
    "softmax.npz",
)
"""Files of a layer that its status checks; of arrays only the names are read."""


def _is_damaged(path: Path) -> bool:
    try:
        if path.exists():
            (files.array_names if path.suffix == ".npz" else files.read_json)(path)
    except RunError:
        return True
    return False


def _judged_count(run: RunFolder, index: int) -> int:
    """Return how many units of a layer have a legibility."""
    path = run.folder(index) / "legibility.json"
    record = layer_formats.LegibilityFile.read_if_whole(path)
    return 0 if record is None else sum(row.share is not None for row in record.maps)


def failure_file(run: RunFolder, index: int, file: str) -> Path:
    """Return the path of the record of a failure, of a file of a layer that is missing."""
    return run.folder(index) / f"{Path(file).stem}{ERROR}"


def layer_status(run: RunFolder, index: int, name: str, maps: int | None) -> LayerStatus:
    """Return the status of a layer, as `run_status` does; empty if the run was never started.

    Args:
        maps: how many the layer has in the model; None if that is not known.
    """
    grown_maps: list[int] = []
    codes: Counter[int] = Counter()
    damaged = []
    paths = run.shards(index)
    for path in paths:
        try:
            numbers = files.read_array(path, "maps")
            codes.update(files.read_array(path, "verdict_codes").tolist())
            grown_maps += numbers.tolist()
        except RunError:
            damaged.append(path.name)
    has_stability = bool(grown_maps) and not damaged and stability_file(run, index) is not None
    damaged += [name for name in _STATUS_FILES if _is_damaged(run.folder(index) / name)]
    return LayerStatus(
        index=index,
        layer=name,
        maps=maps,
        oips=len(np.unique(grown_maps)),
        verdicts={verdict: codes[code] for code, verdict in enumerate(VERDICTS) if codes[code]},
        shards=len(paths),
        damaged=damaged,
        stability=has_stability,
        ranked="ranking.json" not in damaged and (run.folder(index) / "ranking.json").is_file(),
        judged=_judged_count(run, index),
        failed=failures(run.folder(index)),
    )
