"""Several runs of one model as one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from oip.ascent.results import Oips, join_oips
from oip.core import files
from oip.core.checks import check_path, described
from oip.core.errors import RunError, SettingsError
from oip.core.formats import PARTNERS
from oip.core.images import picture_ends
from oip.core.layer_formats import KernelsFile, LegibilityFile, PresetsFile
from oip.core.progress import Progress, silent
from oip.core.units import plural
from oip.run.check import ERROR, file_problems, has_name_of_file
from oip.run.class_probabilities import merge_class_probabilities
from oip.run.run import Run, check_same_model, other_way
from oip.run.shards import (
    Ends,
    maps_in_shards,
    measure_stability,
    read_shard,
    shard_key,
    stability_file,
    write_shard,
)

_NOT_COPIED = ("run.json", "stability.json", "softmax.npz")
_ALONE = ("decomposition.npz", "directions.npz", *PARTNERS)
"""Arrays without a JSON file beside them."""
_BY_MAP: dict[str, type[KernelsFile] | type[LegibilityFile] | type[PresetsFile]] = {
    "kernels.json": KernelsFile,
    "legibility.json": LegibilityFile,
    "presets.json": PresetsFile,
}
"""Tables whose rows are joined."""


@dataclass(frozen=True)
class Merged:
    """The result of a merge."""

    run: Run
    maps: dict[int, int]
    """Maps with an OIP, by layer."""
    notices: tuple[str, ...]
    """Files of which there were several, and which of them was taken."""

    @property
    def content(self) -> str:
        """Its maps and rankings in words, such as `76 maps of 2 layers and rankings of 1 layer`."""
        texts = []
        if count := sum(self.maps.values()):
            texts.append(f"{plural(count, 'map')} of {plural(len(self.maps), 'layer')}")
        if ranked := len(self.run.ranked()):
            texts.append(f"rankings of {plural(ranked, 'layer')}")
        return " and ".join(texts) or "no maps and no rankings"


def merge_runs(
    sources: Sequence[str | Path], out: str | Path, progress: Progress = silent
) -> Merged:
    """Join runs of the same model, made with the same settings, input and data.

    Maps that several runs hold are taken from the first one, as are rankings and other files; what
    the new run has of an earlier call, or was made in it since, stays.
    Legibility by one judge with the same images is joined, as are presets that were kept and
    kernels that were ranked in one way. The sources are only read. What an interrupted merge
    finished is not done twice.

    Args:
        sources: folders of runs.
        out: the new run; new, empty, or left by an earlier call.
        progress: called with the number of shards that are done.

    Returns:
        The new run, with notices of files that differ.

    Raises:
        RunError: another model or other settings, a file that is damaged or does not fit its run,
            or a folder that cannot be used; nothing was written.
    """
    if isinstance(sources, (str, Path)) or not isinstance(sources, Iterable):
        raise SettingsError("sources", "a list of runs' folders", described(sources))
    runs = [Run.open(path, tidy=False) for path in sources]
    if not runs:
        raise SettingsError("sources", "folders of runs", "none")
    folder = check_path("folder of the merged run", out)
    if any(run.path.resolve() == folder.resolve() for run in runs):
        raise RunError("folder of the merged run", "a folder beside the runs", f"'{out}'")
    _check_alike(runs, folder)
    _check_files(runs)
    merged = runs[0]
    for run in reversed(runs):  # the first one's record stands
        merged = Run.begin(folder, run.record)
    all_runs = [merged, *runs]
    names_of_layer = {
        layer.index: sorted({path.name for run in all_runs for path in run.shards(layer.index)})
        for layer in merged.layers
    }
    total = sum(len(names) for names in names_of_layer.values())
    count = 0
    picture_ends = _picture_ends(merged)
    for index, names in names_of_layer.items():
        for name in names:
            _merge_shard([run.folder(index) / name for run in all_runs], picture_ends)
            count += 1
            progress("shards", count, total)
    notices = _copy_other_files(runs, merged)
    grown = [index for index, names in names_of_layer.items() if names]
    for index in grown:
        _keep_stability(runs, merged, index)
        merge_class_probabilities([run.folder(index) for run in runs], merged.folder(index))
    maps = {index: len(maps_in_shards(merged, index)) for index in grown}
    return Merged(merged, maps, tuple(notices))


def _check_alike(runs: list[Run], out: Path) -> None:
    for run in runs[1:]:
        check_same_model(run.path, run.record.model, runs[0].record.model)
    existing = Run.check(out, runs[0].record)
    keys: dict[bool, str] = {}  # of maps, and of objectives
    for run in [*runs, *([existing] if existing else [])]:
        shards = [(layer, path) for layer in run.layers for path in run.shards(layer.index)]
        for layer, path in shards:
            key = shard_key(path)
            if key is None and run is not existing:
                read_shard(path)  # raises the reason
            if key is not None and key != keys.setdefault(layer.objectives is not None, key):
                raise other_way(run, run.record, runs[0].record)
    _check_directions([*runs, *([existing] if existing else [])])


def _check_files(runs: list[Run]) -> None:
    """Raise a RunError where a file that is merged is damaged, or does not fit its run."""
    for run in runs:
        keys: dict[bool, str] = {}
        for path in sorted(run.path.rglob("*")):
            name = path.relative_to(run.path)
            if path.is_dir() and has_name_of_file(path):
                hint = "Move it away; the command that wrote the file makes it again."
                raise RunError(f"'{path}'", "a file", "a folder", hint)
            if path.is_file() and (_is_copied(name) or _is_shard(name)):
                _check_file(run, path, keys)


def _check_directions(runs: list[Run]) -> None:
    """Raise a RunError where runs have different directions at the index of one layer."""
    first_runs: dict[int, tuple[str, str]] = {}
    for run in runs:
        for layer in run.layers:
            path = run.folder(layer.index) / "directions.npz"
            if not path.is_file():
                continue
            name_and_key = layer.name, str(files.read_array(path, "key"))
            name, key = first_runs.setdefault(layer.index, name_and_key)
            if name_and_key != (name, key):
                received = "another" if layer.name == name else f"'{layer.name}'"
                raise RunError(
                    f"layer @{layer.index} of '{run.path}'",
                    f"the directions '{name}' of the runs before it",
                    received,
                    "Runs with different directions cannot be merged.",
                )


def _picture_ends(run: Run) -> Ends:
    spec = run.record.input
    if spec is None:
        return None
    low, high = (np.nan if value is None else value for value in (spec.low, spec.high))
    return picture_ends(np.array(spec.mean), np.array(spec.std), spec.bgr, low, high)


class _Shard(NamedTuple):
    """A shard that was read."""

    path: Path
    oips: Oips
    key: str


def _merge_shard(paths: list[Path], picture_ends: Ends) -> None:
    """Write to the first path what the paths hold together; the others are only read."""
    target = paths[0]
    shards: list[_Shard] = []
    for path in paths:
        if path.exists():
            try:
                shards.append(_Shard(path, *read_shard(path)))
            except RunError:
                if path is not target:  # a damaged target is written anew
                    raise
    merged: set[int] = set()
    sources: list[tuple[_Shard, np.ndarray]] = []
    for shard in shards:
        rows = np.flatnonzero(~np.isin(shard.oips.maps, list(merged)))
        merged.update(shard.oips.maps.tolist())
        if rows.size:
            sources.append((shard, rows))
    first_shard, first_rows = sources[0]
    if len(sources) == 1 and len(first_rows) == len(first_shard.oips):
        if first_shard.path is not target:
            files.write_bytes(target, first_shard.path.read_bytes())
        return
    joined = join_oips([shard.oips.rows(rows) for shard, rows in sources])
    write_shard(target, joined, shards[0].key, picture_ends)


def _keep_stability(runs: list[Run], merged: Run, index: int) -> None:
    """Take the stability that is known for the same maps, or measure it."""
    maps = maps_in_shards(merged, index).tolist()
    for run in runs:
        record = stability_file(run, index)
        if record is not None and record.maps == maps:
            record.write(merged.folder(index) / "stability.json")
            return
    settings = merged.record.settings.reconstruct or {}
    seed = settings.get("seed")
    measure_stability(merged, index, seed if isinstance(seed, int) else 0)


def _copy_other_files(runs: list[Run], merged: Run) -> list[str]:
    """Copy everything but shards, files that belong together from the first run with their table.

    What the merged run has itself stays.
    """
    groups: dict[str, list[_GroupOfFiles]] = {}
    for run in runs:
        for group, digests in _other_files(run).items():
            groups.setdefault(group, []).append(_GroupOfFiles(run, digests))
    notices = []
    for group in sorted(groups):
        copies = sorted(groups[group], key=lambda copy: not copy.has_table)
        source, *left_out = copies
        names = {name for copy in copies for name in copy.digests}
        merged_digests = {name: _digest_if_whole(merged, name) for name in names}
        tables = [name for name in names if _is_table(name)]
        if any(merged_digests[name] not in (None, source.digests.get(name)) for name in tables):
            source, left_out = _GroupOfFiles(merged, merged_digests), copies
        else:
            for name in source.digests:
                _copy(name, source.run, merged)
        way = "kept" if source.run is merged else "taken"
        for copy in left_out:
            for name, digest in copy.digests.items():
                is_other = digest != source.digests.get(name)
                if is_other and _is_table(name) and not _joined(merged, copy.run, name):
                    notices.append(f"{name.as_posix()}: that of '{source.run.path}' was {way}")
    return notices


class _GroupOfFiles(NamedTuple):
    """Files of a run that belong together."""

    run: Run
    digests: Mapping[Path, str | None]
    """Name -> SHA-256; None for a file that is missing or damaged."""

    @property
    def has_table(self) -> bool:
        """Whether one of them says what the others are about."""
        return any(map(_is_table, self.digests))


def _other_files(run: Run) -> dict[str, dict[Path, str]]:
    """Return the SHA-256 of all files but shards by name, of those that belong together."""
    groups: dict[str, dict[Path, str]] = {}
    for path in sorted(run.path.rglob("*")):
        name = path.relative_to(run.path)
        if path.is_file() and _is_copied(name):
            groups.setdefault(_group(name), {})[name] = files.sha256(path)
    return groups


def _is_table(name: Path) -> bool:
    """Return whether a file says what others, made together with it, are about."""
    return name.suffix == ".json" or name.name in _ALONE


def _group(name: Path) -> str:
    """Return a name for the files that were made together with one of a run."""
    if name.parts[0] == "record":
        return "record"
    stem = re.sub(r"^kernels-\d+$", "kernels", name.stem)
    return (name.parent / ("ranking" if stem == "responses" else stem)).as_posix()


def _check_file(run: Run, path: Path, keys: dict[bool, str]) -> None:
    """Raise a RunError where a file of a run is damaged, or does not fit it.

    Args:
        run: the run.
        path: of the file.
        keys: of the run's shards before it, as for `file_problems`.
    """
    if path.suffix in (".json", ".npz", ".png"):
        layers = {run.folder(layer.index): layer for layer in run.layers}
        if problems := file_problems(run, path, layers.get(path.parent), keys):
            raise files.DamagedFile.of_file(path, "a file that fits its run", "; ".join(problems))


def _digest_if_whole(run: Run, name: Path) -> str | None:
    """Return the SHA-256 of a file of a run, None where there is none or it is damaged."""
    path = run.path / name
    if not path.is_file():
        return None
    with suppress(RunError):
        _check_file(run, path, {})
        return files.sha256(path)
    return None


def _joined(merged: Run, run: Run, name: Path) -> bool:
    """Add the maps of a run's table to that of the merged run; return False if it is another.

    What is known of a map does not depend on the maps beside it.
    """
    kind = _BY_MAP.get(name.name)
    if kind is None:
        return False
    merged_record, further = kind.read_if_whole(merged.path / name), kind.read(run.path / name)
    if merged_record is None or _header(merged_record) != _header(further):
        return False
    earlier = {row.map for row in merged_record.maps}
    new = [row for row in further.maps if row.map not in earlier]
    for row in new:
        picture = name.with_name(f"kernels-{row.map:04d}.png")
        if kind is KernelsFile and (run.path / picture).is_file():
            _copy(picture, run, merged)
    if new:
        rows = sorted([*merged_record.maps, *new], key=lambda row: row.map)
        msgspec.structs.replace(merged_record, maps=rows).write(merged.path / name)
    return True


def _copy(name: Path, source: Run, target: Run) -> None:
    with files.replacing(target.path / name) as temporary:
        shutil.copyfile(source.path / name, temporary)


def _header(record: KernelsFile | LegibilityFile | PresetsFile) -> dict[str, object]:
    """Return what two tables have to have in common; the key of kernels is that of one map."""
    left_out = {"maps", "checksum"} | (set() if isinstance(record, KernelsFile) else {"key"})
    names = (name for name in record.__struct_fields__ if name not in left_out)
    return {name: getattr(record, name) for name in names}


def _is_shard(name: Path) -> bool:
    return name.parts[0] == "layers" and name.match("shard-[0-9]*.npz")


def _is_copied(name: Path) -> bool:
    return (
        name.parts[0] in ("layers", "record")
        and name.name not in _NOT_COPIED
        and not name.name.startswith((files.UNFINISHED, "shard-"))
        and not name.name.endswith(ERROR)
    )
