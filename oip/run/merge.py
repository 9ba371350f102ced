"""Several runs of one model as one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oip.ascent.results import PER_MAP, Oips, joined
from oip.core import files
from oip.core.errors import RunError, expected
from oip.core.progress import Progress, silent
from oip.run.class_probabilities import join_outputs
from oip.run.run import Run
from oip.run.shards import held_maps, read_shard, shard_key, write_shard
from oip.run.stability import known_stability, measure_stability

_NOT_COPIED = ("run.json", "stability.json", "softmax.npz")


@dataclass(frozen=True)
class Merged:
    """What a merge made."""

    run: Run
    maps: dict[int, int]
    """Maps with an OIP, by layer."""
    notices: tuple[str, ...]
    """Files of which there were several, and which of them was taken."""


def merge_runs(
    sources: Sequence[str | Path], out: str | Path, progress: Progress = silent
) -> Merged:
    """Joins runs of the same model, made with the same settings, input and data.

    Maps that several runs hold are taken from the first one, as are rankings and other files. The
    sources are only read. What was finished of an interrupted merge is not done again.

    Args:
        sources: folders of runs.
        out: the new run; new, empty, or what an earlier call left.
        progress: is told how many shards are done.

    Raises:
        RunError: another model or other settings, a damaged shard, or a folder that cannot be used.
    """
    runs = [Run.open(path) for path in sources]
    folder = Path(out)
    if any(run.path.resolve() == folder.resolve() for run in runs):
        raise RunError(expected("--out", "a folder beside the runs", f"'{out}', one of them"))
    _check_alike(runs, folder)
    merged = runs[0]
    for run in reversed(runs):  # what the first says stands
        merged = Run.begin(folder, run.info)
    every = [merged, *runs]
    numbers = {
        index: sorted({path.name for run in every for path in run.shards(index)})
        for index in (layer["index"] for layer in merged.layers)
    }
    total = sum(len(names) for names in numbers.values())
    done = 0
    for index, names in numbers.items():
        for name in names:
            _merge_shard([run.folder(index) / name for run in every])
            done += 1
            progress("shards", done, total)
    notices = _copy_others(runs, merged)
    for index, names in numbers.items():
        if names:
            _keep_stability(runs, merged, index)
            join_outputs([run.folder(index) for run in runs], merged.folder(index))
    maps = {index: len(held_maps(merged, index)) for index, names in numbers.items() if names}
    return Merged(merged, maps, tuple(notices))


def _check_alike(runs: list[Run], out: Path) -> None:
    first = runs[0]
    for run in runs[1:]:
        have, want = run.info["model"], first.info["model"]
        if have["sha256"] != want["sha256"]:
            raise RunError(
                expected(
                    f"'{run.path}' is a run of another model",
                    f"'{want['name']}' ({want['sha256'][:12]})",
                    f"'{have['name']}' ({have['sha256'][:12]})",
                )
            )
    there = Run.check(out, first.info)
    keys: dict[bool, str] = {}  # of maps, and of objectives
    for run in [*runs, *([there] if there else [])]:
        for layer, path in ((one, path) for one in run.layers for path in run.shards(one["index"])):
            found = shard_key(path)
            if found is None and run is not there:
                read_shard(path)  # says what is wrong with it
            if found is not None and found != keys.setdefault("objectives" in layer, found):
                raise RunError(
                    expected(
                        f"'{run.path}' holds OIPs made in another way",
                        "the same input, settings, seed and data in all runs",
                        "others",
                        "Use 'oip compare' for runs of different settings.",
                    )
                )


def _merge_shard(paths: list[Path]) -> None:
    """Writes to the first path what the paths hold together; the others are only read."""
    target = paths[0]
    found: list[tuple[Path, Oips, str]] = []
    for path in paths:
        if path.exists():
            try:
                found.append((path, *read_shard(path)))
            except RunError:
                if path is not target:  # a damaged target is written again
                    raise
    have: set[int] = set()
    parts: list[tuple[Path, Oips, np.ndarray]] = []
    for path, oips, _ in found:
        rows = np.flatnonzero(~np.isin(oips.maps, list(have)))
        have.update(oips.maps.tolist())
        if rows.size:
            parts.append((path, oips, rows))
    if len(parts) == 1 and len(parts[0][2]) == len(parts[0][1]):
        if parts[0][0] is not target:
            files.write_bytes(target, parts[0][0].read_bytes())
        return
    write_shard(target, joined([_of_rows(oips, rows) for _, oips, rows in parts]), found[0][2])


def _of_rows(oips: Oips, rows: np.ndarray) -> Oips:
    return replace(oips, **{name: getattr(oips, name)[rows] for name in PER_MAP})


def _keep_stability(runs: list[Run], merged: Run, index: int) -> None:
    """Takes the stability that is known for the same maps, or measures it."""
    maps = held_maps(merged, index).tolist()
    for run in runs:
        told = known_stability(run, index)
        if told is not None and told["maps"] == maps == held_maps(run, index).tolist():
            files.write_json(merged.folder(index) / "stability.json", told)
            return
    settings = merged.info.get("settings", {}).get("reconstruct", {})
    measure_stability(merged, index, int(settings.get("seed", 0)))


def _copy_others(runs: list[Run], merged: Run) -> list[str]:
    """Everything but shards: rankings with their responses, records. The first run's stands."""
    taken: dict[Path, tuple[Run, bytes]] = {}
    notices = []
    for run in runs:
        mine = {
            path.relative_to(run.path): path
            for path in sorted(run.path.rglob("*"))
            if path.is_file() and _is_copied(path.relative_to(run.path))
        }
        for name, path in mine.items():
            owner, digest = taken.setdefault(name, (run, files.sha256(path).encode()))
            if owner is run:
                target = merged.path / name
                with files.replacing(target) as temporary:
                    shutil.copyfile(path, temporary)
            elif files.sha256(path).encode() != digest and name.suffix == ".json":
                notices.append(f"{name.as_posix()}: that of '{owner.path}' was taken")
    return notices


def _is_copied(name: Path) -> bool:
    return (
        name.parts[0] in ("layers", "record")
        and name.name not in _NOT_COPIED
        and not name.name.startswith((files.UNFINISHED, "shard-"))
        and not name.name.endswith(".error.json")
    )
