"""Shell commands that make an OIP or lost files again, with the settings of the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from oip.ascent.settings import current_names, nearest_preset
from oip.core.errors import shell_command
from oip.core.formats import (
    ARRAYS,
    PARTNERS,
    DataRecord,
    InputRecord,
    LayerRecord,
    LoadingRecord,
    RankingSettings,
    RunFile,
)
from oip.core.layer_formats import (
    AblationFile,
    ClustersFile,
    KernelsFile,
    KeyedFile,
    LegibilityFile,
    RankingFile,
    RedundancyFile,
    ResponsesFile,
)
from oip.gallery.escape import PageValues, plain_name
from oip.mi.polysemanticity import OWN
from oip.network.layer_spec import map_text
from oip.run.run import Run, grown_on
from oip.run.shards import recorded_maps

_OWN_OPTIONS = ("starts", "steps", "screened", "noise")
"""Settings with an option of their own; the others are given by `--set`."""
_OF_OIPS = ("shard-", "stability.", "softmax.")
_OF_BEST = ("presets.", "legibility.")
"""How the names of files begin that come with OIPs of the most legible presets."""
_FLAGS = {"kernels": "--kernels", "redundancy.": "--redundancy", "ablation.": "--ablate"}
"""How the names of files begin -> the option of `oip rank` that makes them."""
_KEYED: dict[str, type[KeyedFile]] = {
    "ranking.json": RankingFile,
    "kernels.json": KernelsFile,
    "redundancy.json": RedundancyFile,
    "ablation.json": AblationFile,
}
_LEGIBILITY, _CLUSTERS, _DIRECTIONS = "legibility.json", "clusters.json", "directions.npz"
_RELATIONS = ("causes.json", "decomposition.npz", *PARTNERS)
_DATA_IMAGES = "gallery/img/data/"


def rerun_command(run: RunFile, run_name: str, layer: LayerRecord, map_index: int) -> str:
    """Return the shell command that grows a map's OIP again, into a folder beside the run.

    Settings are given by the nearest preset and by what differs from it.
    """
    return _reconstruct(run, _targets(layer, [map_index]), f"{plain_name(run_name)}-again")


def commands_again(run: Run, names: Iterable[str]) -> list[str]:
    """Return the shell commands that make files of a run again.

    A run does not know the folders of its model and its data: only their names are given.

    Args:
        run: the run.
        names: paths of files within it.
    """
    layers = {run.folder(layer.index).name: layer for layer in run.layers}
    names, out = list(names), str(run.path)
    files_by_command: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        folder, _, file = name.removeprefix("layers/").rpartition("/")
        if folder in layers:
            files_by_command[_command_name(file, run.record)][folder].append(file)
    commands = [
        _directions(run.record, layers[folder], out) for folder in files_by_command["directions"]
    ]
    for folder in files_by_command["reconstruct"]:
        maps = recorded_maps(run, layers[folder].index).tolist()
        commands.append(_reconstruct(run.record, _targets(layers[folder], maps), out))
    for folder, files in files_by_command["rank"].items():
        targets = _targets(layers[folder], _measured_maps(run, layers[folder].index))
        commands.append(_rank(run.record, [*targets, *_flags(files)], out))
    if files_by_command["judge"]:
        with_clusters = any(_CLUSTERS in files for files in files_by_command["judge"].values())
        commands.append(_judge(run, out, with_clusters))
    for folder, files in files_by_command["relations"].items():
        commands += dict.fromkeys(_related(run, layers[folder], file) for file in files)
    return commands + [shell_command("oip", "gallery", out, *o) for o in _gallery_options(names)]


def _command_name(file: str, run: RunFile) -> str:
    """Return the command that makes a file of a layer; `relations` are made by several."""
    if file.startswith(_OF_OIPS) or (_is_best(run.settings.preset) and file.startswith(_OF_BEST)):
        return "reconstruct"
    if file in (_LEGIBILITY, _CLUSTERS):
        return "judge"
    if file == _DIRECTIONS:
        return "directions"
    return "relations" if file in _RELATIONS else "rank"


def _flags(files: Iterable[str]) -> list[str]:
    """Return the options of `oip rank` that make some files."""
    return sorted({flag for begin, flag in _FLAGS.items() for f in files if f.startswith(begin)})


def _gallery_options(names: Iterable[str]) -> list[list[str]]:
    """Return the options of each gallery that holds some of these files of a run."""
    options: dict[str, list[str]] = {}
    for name in names:
        if name == "gallery.html":
            options[name] = ["--single-file"]
        elif name.startswith("gallery/"):
            needed = ["--with-data"] if name.startswith(_DATA_IMAGES) else []
            options["gallery"] = options.get("gallery") or needed
    return list(options.values())


def _measured_maps(run: Run, index: int) -> list[int]:
    """Return the maps that the files beside a layer's OIPs were made for, where known."""
    maps: set[int] = set()
    for name, kind in _KEYED.items():
        record = kind.read_if_whole(run.folder(index) / name)
        maps.update(record.numbers() if record is not None else ())
    responses = ResponsesFile.read_if_whole(run.folder(index) / "responses.npz")
    return sorted(maps.union(responses.maps.tolist() if responses is not None else ()))


def _targets(layer: LayerRecord, maps: Sequence[int]) -> list[str]:
    """Return the arguments that name some maps of a layer, or objectives; all of them for none."""
    if layer.objectives is not None:
        objectives = [layer.objectives[n] for n in maps] if maps else layer.objectives
        return [word for text in objectives for word in ("--objective", plain_name(text))]
    name = _layer_name(layer)
    return [f"{name}:{map_text(maps)}" if maps else name]


def _layer_name(layer: LayerRecord) -> str:
    """Return a layer's name, or its index where a command would read the name as another thing."""
    is_odd = layer.name.startswith(("-", "@")) or ":" in layer.name
    return f"@{layer.index}" if is_odd or plain_name(layer.name) != layer.name else layer.name


def _reconstruct(run: RunFile, targets: list[str], out: str) -> str:
    settings = current_names(run.settings.reconstruct or {})
    return shell_command(
        *("oip", "reconstruct", _model_name(run)),
        *targets,
        *_input_arguments(run, grown_on(run)),
        *([] if run.input is None else _statistics_arguments(run.input)),
        *_preset_arguments(run.settings.preset or "", settings),
        *(("--from", "IMAGE") if run.settings.start else ()),
        *("--out", out),
        *("--seed", str(settings.get("seed", 0))),
    )


def _rank(run: RunFile, targets: list[str], out: str) -> str:
    settings = run.settings.rank or RankingSettings()
    arguments = []
    for name in settings.estimators if settings.about != "none" else ():
        arguments += ["--estimator", plain_name(name)]
    arguments += ["--about", plain_name(settings.about)] if settings.about != "label" else []
    arguments += ["--target", "FILE"] if settings.about == "direction" else []
    arguments += ["--samples", str(settings.samples), "--at", plain_name(settings.at)]
    arguments += ["--with-input"] if settings.with_input else []
    return shell_command(
        *("oip", "rank", _model_name(run)),
        *targets,
        *_input_arguments(run),
        *([] if run.input is None else _statistics_arguments(run.input)),
        *arguments,
        *("--out", out),
        *("--seed", str(settings.seed)),
    )


def _judge(run: Run, out: str, with_clusters: bool) -> str:
    """Return the command that judges a run, by the judge of the layers whose file is whole."""
    folders = [run.folder(layer.index) for layer in run.layers]
    judged = (LegibilityFile.read_if_whole(folder / _LEGIBILITY) for folder in folders)
    record = next(filter(None, judged), None)
    arguments = ["--judge", plain_name("MODEL" if record is None else record.judge)]
    if record is not None and record.judge_layer:
        arguments += ["--judge-layer", plain_name(record.judge_layer)]
    if with_clusters:
        counted = (ClustersFile.read_if_whole(folder / _CLUSTERS) for folder in folders)
        clusters = next(filter(None, counted), None)
        is_own = clusters is not None and clusters.judge == OWN
        arguments += ["--clusters", "own" if is_own else "judge"]
    source = run.record.data.source if run.record.data is not None else None
    source = record.split if record is not None else source
    return shell_command("oip", "judge", out, "--data", _source_name(source), *arguments)


def _directions(run: RunFile, layer: LayerRecord, out: str) -> str:
    """Return the command that finds directions of a layer, such as `Conv2D_3+nmf`."""
    base, _, method = layer.name.rpartition("+")
    base = next((_layer_name(other) for other in run.layers if other.name == base), base)
    arguments = ["--method", plain_name(method)]
    arguments += ["--count", str(layer.maps)] if layer.maps else []
    source = [] if run.data is not None and run.data.source else ["--data", "SOURCE"]
    model = _model_name(run)
    return shell_command(
        *("oip", "directions", model, plain_name(base)),
        *_input_arguments(run),
        *source,
        *([] if run.input is None else _statistics_arguments(run.input)),
        *arguments,
        *("--out", out),
    )


def _related(run: Run, layer: LayerRecord, file: str) -> str:
    """Return the command that measures what a unit is related to; the rest is the user's."""
    out, model, name = str(run.path), _model_name(run.record), _layer_name(layer)
    source = run.record.data.source if run.record.data is not None else None
    data = ["--data", _source_name(source)]
    inputs = _input_arguments(run.record) if source else [*data, *_input_arguments(run.record)]
    inputs += [] if run.record.input is None else _statistics_arguments(run.record.input)
    inputs += ["--directions", out] if layer.kind == "directions" else []
    commands = {
        "causes": ["trace", model, f"{name}:UNIT", *inputs, "--out", out],
        "decomposition": [*("locate", model, name, *inputs, "--translation", "--out", out)],
        "partners": ["compare", out, "OTHER", "--match", *data, "--out", out],
    }
    return shell_command("oip", *commands[file.partition(".")[0].partition("-")[0]])


def _model_name(run: RunFile) -> str:
    """Return the name of the model's file; MODEL for one that was in memory."""
    name = run.model.name if Path(run.model.name).suffix else "MODEL"
    return f"./{name}" if name.startswith("-") else name


def _source_name(source: str | None) -> str:
    """Return a source as `--data` takes it; SOURCE for arrays, which have to be saved first."""
    if source is None or source.partition(":")[0] in ("", ARRAYS):
        return "SOURCE"
    return plain_name(source)


def _input_arguments(run: RunFile, data: DataRecord | None = None) -> list[str]:
    """Return the options of loading the model and of its input; the data are the run's if None."""
    loading, data = run.loading or LoadingRecord(), data or run.data
    arguments = []
    for module in loading.imports or ():
        arguments += ["--import", plain_name(module)]
    if data is not None and data.source:
        arguments += ["--data", _source_name(data.source)]
        arguments += ["--resize", plain_name(data.resize)] if data.resize else []
    if loading.input_size:
        arguments += ["--input-size", ",".join(str(side) for side in loading.input_size)]
    return arguments


def _statistics_arguments(spec: InputRecord) -> list[str]:
    arguments = ["--input", plain_name(spec.name)] if spec.name else []
    prepared, _, kind = spec.source.partition(" ")
    is_given = spec.source == "told"
    if prepared == "preprocess":
        arguments += ["--preprocess", plain_name(kind)]
    elif is_given:
        if spec.bgr:
            arguments += ["--preprocess", "caffe"]
        arguments.append(f"--input-mean={_shortest(spec.mean, np.float32)}")
        arguments.append(f"--input-std={_shortest(spec.std, np.float32)}")
    if (is_given or spec.source == "assumed") and None not in (spec.low, spec.high):
        arguments.append(f"--input-range={_shortest((spec.low, spec.high), np.float64)}")
    return arguments


def _shortest(values: Iterable[float | None], kind: type) -> str:
    """Return numbers with the fewest digits that give the same ones again."""
    return ",".join(str(kind(value)) for value in values)


def _preset_arguments(preset: str, settings: PageValues) -> list[str]:
    """Return the options of settings; of a run of the most legible presets those that all share."""
    if not _is_best(preset):
        return _setting_arguments(settings)
    arguments = ["--preset", plain_name(preset), "--judge", "MODEL"]
    return arguments + [
        word for name in ("starts", "steps") for word in (f"--{name}", plain_name(settings[name]))
    ]


def _is_best(preset: str | None) -> bool:
    """Return whether the most legible of several presets was kept for each unit."""
    return (preset or "").startswith("best:")


def _setting_arguments(settings: PageValues) -> list[str]:
    nearest, changes = nearest_preset(settings)
    arguments = ["--preset", nearest]
    for name, value in changes.items():
        if name in _OWN_OPTIONS:
            arguments += [f"--{name}", plain_name(value)]
        elif value is not None:
            text = str(value).lower() if isinstance(value, bool) else plain_name(value)
            arguments += ["--set", f"{name}={text}"]
    return arguments
