"""The job file of a batch, in TOML, read strictly."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from oip.core.checks import check_choice, check_path, parse_assignments
from oip.core.errors import SettingsError, did_you_mean
from oip.core.files import Json, read_text
from oip.core.records import Parameters

EngineKind = Literal["process", "local", "dask", "slurm"]
_LARGEST = 1_000_000
"""Of the whole numbers of a job."""


class ModelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Models: files, or one of keras.applications; and what they are fed."""

    path: str | None = None
    """A `.keras` or `.h5` file, or a pattern such as `checkpoints/*.keras`."""
    application: str | None = None
    """A name in keras.applications, such as `VGG16`; built once and kept as a file."""
    weights: Literal["imagenet", "none"] = "imagenet"
    """Of an application: those that Keras downloads, or random ones of `seed`."""
    top: bool = False
    """Build an application with its dense top, which objectives such as `class:4` need."""
    size: tuple[int, int] = (224, 224)
    """Height and width that an application is built for."""
    seed: int = 0
    """Of an application's random weights."""
    imports: tuple[str, ...] = ()
    """Modules that register custom layers; they are trusted."""
    layers: tuple[str, ...] | None = None
    """`LAYER[:MAPS]` of these models, in place of the job's own."""
    directions: str | None = None
    """A run of the model whose directions are layers, too: `LAYER+METHOD[:NUMBERS]`."""
    preprocess: Literal["caffe", "torch", "tf"] | None = None
    """The input is prepared as keras.applications does it; known for applications."""
    input_mean: tuple[float, ...] | None = None
    input_std: tuple[float, ...] | None = None
    input_range: tuple[float, float] | None = None
    input_size: tuple[int, int] | None = None
    """Height and width, of models that take any; those of the data if None."""
    input: str | None = None
    """Of several inputs, the one that takes the images; the first that can if None."""


class RankSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ranking of the same maps after the reconstruction. Needs data with labels."""

    estimators: tuple[str, ...] = ()
    """As `oip rank --estimator` takes them; its own choice where there are none."""
    samples: int = 2000
    at: Literal["response", "block"] = "response"
    seed: int = 0


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the work is done."""

    kind: EngineKind = "process"
    workers: int | None = None
    """Processes (local) or jobs at once (slurm)."""
    threads: int | None = None
    """Threads of one process; a fair share of the machine's cores if None."""
    gpus: tuple[int, ...] | None = None
    """Devices of the local engine, one process each; those that are found if None, () for none."""
    scheduler: str | None = None
    """Address of the Dask scheduler, such as `tcp://10.0.0.1:8786`."""
    together: int | None = None
    """Shards that are handed over at once: 1, with Slurm 4."""
    cluster: Literal["slurm", "local"] = "slurm"
    """Of Slurm: `local` runs its jobs as processes of this machine, to try them out."""
    partition: str | None = None
    minutes: int = 120
    """Time limit of a Slurm job."""
    memory_gb: int = 8
    """Of a Slurm job."""

    def __post_init__(self) -> None:
        if self.partition is not None and not re.fullmatch(r"[\w.@+,-]+", str(self.partition)):
            names = "names of letters, digits and . _ - + @, with commas between them"
            raise SettingsError("engine.partition", names, repr(self.partition))


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A batch: models, layers, data and settings.

    Paths are taken from the working directory; `read_job` takes them from the folder of the file.
    """

    models: tuple[str | ModelSource, ...]
    """Files, patterns, names in keras.applications, or tables."""
    out: str
    """Folder of the batch."""
    layers: tuple[str, ...] = ()
    """`LAYER[:MAPS]` as on the command line; every convolutional layer if there are none, and no
    objectives either."""
    objectives: tuple[str, ...] = ()
    """Objectives that images are grown for besides maps, as `oip reconstruct --objective` takes
    them, with the layer in each term: `class:4 - class:9`, `map:Conv2D_3:17`."""
    data: str | None = None
    """Images that OIPs are compared with and rankings are made on, as `--data` takes them."""
    data_dir: str | None = None
    resize: str | None = None
    """How images get the model's size: `crop`, `fit` or `stretch`."""
    settings: Parameters | tuple[Parameters, ...] = msgspec.field(default_factory=dict)
    """Fields of `AscentSettings` and `preset`; several tables give several runs for each model."""
    rank: RankSettings | None = None
    engine: EngineSettings = EngineSettings()
    retries: int = 2
    """How often a piece of work that failed is tried again."""

    def sources(self) -> list[ModelSource]:
        """Return the models as tables; a word that is no file name means keras.applications."""
        return [_source(model) if isinstance(model, str) else model for model in self.models]

    def variants(self) -> list[dict[str, Any]]:
        """Return the tables of settings, one at least."""
        tables = [self.settings] if isinstance(self.settings, dict) else list(self.settings)
        return [dict(table) for table in tables] or [{}]


def read_job(path: str | Path, changes: Iterable[str] = ()) -> Job:
    """Read a job file.

    Args:
        path: the TOML file. Paths in it are taken from its folder.
        changes: `key=value`, such as `settings.steps=60` or `out="runs/more"`; values as in TOML,
            a bare word is text. A change of `settings` is made in each of its tables.

    Raises:
        SettingsError: no such file, no TOML, an unknown key (the nearest is named), a wrong value.
    """
    path = check_path("job", path, "the path of a TOML file")
    try:
        table = tomllib.loads(read_text(path))
    except OSError as error:
        raise SettingsError(f"job '{path}'", "a TOML file", error.strerror) from error
    except RecursionError as error:
        raise SettingsError(f"job '{path}'", "a TOML file", "nested too deeply") from error
    except ValueError as error:  # what is no UTF-8 and what is no TOML
        raise SettingsError(f"job '{path}'", "a TOML file", error) from error
    return rooted(job_of(changed(table, changes)), path.parent)


def job_of(table: Mapping[str, Json]) -> Job:
    """Return a job of plain values; a SettingsError says which key or value is wrong."""
    _check_keys(table, Job, "")
    for index, model in enumerate(_tables(table.get("models"))):
        _check_keys(model, ModelSource, f"models[{index}].")
    for name, kind in (("rank", RankSettings), ("engine", EngineSettings)):
        for entry in _tables(table.get(name)):
            _check_keys(entry, kind, f"{name}.")
    try:
        job = msgspec.convert(dict(table), Job)
    except msgspec.ValidationError as error:
        raise _explained(table, str(error)) from error
    return checked(job)


def checked_job(job: Job | str | Path | Mapping[str, Json]) -> Job:
    """Return a job of any form that `oip.batch.run` takes; a SettingsError says what is wrong."""
    if isinstance(job, Job):
        return checked(job)
    if isinstance(job, Mapping):
        return job_of(job)
    return read_job(check_path("job", job, "a Job, the path of a TOML file, or a dictionary"))


def checked(job: Job) -> Job:
    """Return the same job; a SettingsError names values that do not fit together."""
    from oip.ascent.objectives import objective
    from oip.ascent.settings import AutoSettings, requested_settings

    if not job.models:
        raise SettingsError("models", "at least one", "none")
    for source in job.sources():
        if (source.path is None) == (source.application is None):
            received = "both" if source.path else "neither"
            raise SettingsError("a model", "a path or an application", received)
        _check_source(source, job)
    for name, text in (("out", job.out), ("data", job.data), ("data_dir", job.data_dir)):
        if text == "":
            raise SettingsError(name, "a text that is not empty", "''")
    if job.resize is not None:
        check_choice("resize", job.resize, ("crop", "fit", "stretch"))
    of_data = {"rank": job.rank, "resize": job.resize, "data_dir": job.data_dir}
    for name, setting in of_data.items():
        if setting is not None and job.data is None:
            raise SettingsError(name, "data as well", "no data")
    engine = job.engine
    numbers = {
        "retries": (job.retries, 0),
        "engine.workers": (engine.workers, 1),
        "engine.threads": (engine.threads, 1),
        "engine.together": (engine.together, 1),
        "engine.minutes": (engine.minutes, 1),
        "engine.memory_gb": (engine.memory_gb, 1),
        "rank.samples": (job.rank.samples if job.rank else None, 20),
    }
    for name, (value, minimum) in numbers.items():
        if value is not None and not minimum <= value <= _LARGEST:
            expected = f"{minimum} or more" if value < minimum else f"at most {_LARGEST}"
            raise SettingsError(name, expected, value)
    if engine.kind == "dask" and engine.scheduler is None:
        hint = "Start one with 'dask scheduler', or use the local engine."
        raise SettingsError("engine dask", "a scheduler's address", "none", hint)
    for table in job.variants():
        settings = requested_settings(**table)
        ascent_settings = settings.natural if isinstance(settings, AutoSettings) else settings
        if ascent_settings.reference_terms and job.data is None:
            raise SettingsError(ascent_settings.reference_terms[0], "data as well", "no data")
    for expression in job.objectives:
        objective(expression)
    return job


_OF_APPLICATIONS = ("weights", "top", "size", "seed")


def _check_source(source: ModelSource, job: Job) -> None:
    """Raise a SettingsError where a model has keys that do nothing."""
    if source.path is not None:
        plain = ModelSource(path=source.path)
        for name in _OF_APPLICATIONS:
            if getattr(source, name) != getattr(plain, name):
                hint = "The key is input_size." if name == "size" else ""
                key_name = f"the key '{name}' of a model"
                raise SettingsError(key_name, "an application", f"the file '{source.path}'", hint)
    layers = job.layers if source.layers is None else source.layers
    if job.rank is not None and job.objectives and not layers:
        hint = "Name layers whose maps are grown and ranked beside them."
        raise SettingsError("rank", "layers as well", "objectives, which are not ranked", hint)


def changed(table: Mapping[str, Json], changes: Iterable[str]) -> dict[str, Json]:
    """Return plain values with `key=value` put in."""
    result = dict(table)
    for name, value in parse_assignments(changes, "change of the job", tables=True).items():
        outer, _, last = name.rpartition(".")
        if not outer:
            result[last] = value
            continue
        inner = result.get(outer, {})
        entries = inner if isinstance(inner, list) else [inner]
        if not all(isinstance(entry, dict) for entry in entries):
            raise SettingsError(f"change of '{name}'", f"a table '{outer}'", "none")
        entries = [{**entry, last: value} for entry in entries if isinstance(entry, dict)]
        result[outer] = entries if isinstance(inner, list) else entries[0]
    return result


def rooted(job: Job, folder: Path) -> Job:
    """Return the same job with its paths taken from a folder."""

    def under(path: str) -> str:
        return str(folder / Path(path).expanduser())

    models = []
    for source in job.sources():
        paths = {"path": source.path, "directions": source.directions}
        paths = {name: under(path) for name, path in paths.items() if path is not None}
        models.append(msgspec.structs.replace(source, **paths))
    return msgspec.structs.replace(
        job,
        models=tuple(models),
        out=under(job.out),
        data=data_source(job.data, folder),
        data_dir=None if job.data_dir is None else under(job.data_dir),
    )


def data_source(source: str | None, folder: Path) -> str | None:
    """Return a source of data; if it is a file or a folder, taken from `folder`."""
    from oip.models import split_source

    name, part = split_source(source or "")
    if source is None or not (folder / name).exists():
        return source
    return f"{folder / name}:{part}" if part else str(folder / name)


def _source(text: str) -> ModelSource:
    is_path = "/" in text or any(c in text for c in "*?[.\\") or check_path("model", text).exists()
    return ModelSource(path=text) if is_path else ModelSource(application=text)


def _tables(value: Json) -> list[Mapping[str, Json]]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [table for table in values if isinstance(table, Mapping)]


def _check_keys(table: Mapping[str, Json], kind: type[msgspec.Struct], prefix: str) -> None:
    keys = kind.__struct_fields__
    for name in table:
        if name not in keys:
            hint = did_you_mean(name, keys, prefix)
            raise SettingsError("job", f"keys {', '.join(keys)}", f"'{prefix}{name}'", hint)


_FORMS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a text",
}
"""Name of a type in a message of msgspec -> its name in TOML."""
_KINDS: dict[str, type[msgspec.Struct]] = {
    "models": ModelSource,
    "rank": RankSettings,
    "engine": EngineSettings,
}
_LONGEST = 60
"""Characters of a value in a message."""
_MISSING = re.compile(r"missing required field `(\w+)`")
_WRONG = re.compile(r"(?:Expected `([^`]+)`(?: of (length \d+))?, got .*|.*) - at `\$\.([^`]+)`")


def _explained(table: Mapping[str, Json], message: str) -> SettingsError:
    """Return the error of a key, with an example of it, for a message of msgspec about a job."""
    missing, mismatch = _MISSING.search(message), _WRONG.search(message)
    if missing is not None:
        key, received = missing[1], "none"
        form = "a text" if get_type_hints(Job)[key] is str else "a list"
        values = f"{form}, above the tables"
    elif mismatch is not None:
        key, received = mismatch[3], _value(table, mismatch[3])
        types, length = mismatch[1] or "", f" of {mismatch[2]}" if mismatch[2] else ""
        forms = [_FORMS.get(form, form) for form in types.split(" | ") if form != "null"]
        values = " or ".join(_choices(key) or forms) + length
    else:
        return SettingsError("job", "a job", message)
    return SettingsError(f"'{key}' in the job", values, received, _hint(key))


def _choices(key: str) -> list[str]:
    """Return the texts that a key such as `engine.kind` takes; none of a key without a choice."""
    section, _, name = key.rpartition(".")
    hint = get_type_hints(_KINDS.get(section.partition("[")[0], Job)).get(name)
    texts = [text for part in (hint, *get_args(hint)) for text in get_args(part)]
    return [f'"{text}"' for text in dict.fromkeys(texts) if isinstance(text, str)]


def _value(table: Json, key: str) -> str:
    """Return the value at a key such as `models[1].size`, as a job holds it."""
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", key):
        if index.isdecimal() or name.isdecimal():
            table = table[int(index or name)] if isinstance(table, (list, tuple)) else None
        else:
            table = table.get(name) if isinstance(table, Mapping) else None
    text = json.dumps(table, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _hint(key: str) -> str:
    """Return the line of the example in which a key is, or the way to the whole example."""
    section, _, name = re.sub(r"\[\d+\]", "", key).rpartition(".")
    heading = ""
    for line in EXAMPLE.splitlines():
        text = line.removeprefix("# ").partition("  ")[0].strip()
        if re.fullmatch(r"\[\w+\]", text):
            heading = text.strip("[]")
        elif " = " not in text:
            continue
        elif heading == section and text.startswith(f"{name} ="):
            return (
                f"For example, in the table [{heading}]: {text}"
                if heading
                else f"For example: {text}"
            )
        elif heading == name and not section:
            return f"For example a line [{heading}] and below it: {text}"
    return "'oip batch NEW.toml --init' writes an example."


EXAMPLE = """\
# A batch for `oip batch`. Paths are taken from the folder of this file.

# The models: files, patterns of files, names in keras.applications, or tables such as
#   { application = "VGG16", weights = "none", size = [64, 64], seed = 0 }
#   { path = "checkpoints/*.keras", layers = ["Conv2D_3:0-63"], imports = ["my_layers"] }
# A table may also say preprocess, input_mean, input_std, input_range, input_size and input.
models = ["model.keras"]

# The folder of the batch; runs/0000, runs/0001, ... in it are runs, one for each model and setting.
out = "runs/batch"

# LAYER or LAYER:MAPS, as `oip reconstruct` takes them. Without it: every convolutional layer.
# layers = ["Conv2D_3:0-63", "@0"]

# Objectives that images are grown for besides, as `oip reconstruct --objective` takes them, with
# the layer in each term. Maps are then grown only of the layers that are named above.
# objectives = ["class:4 - class:9", "map:Conv2D_3:17"]

# Images that the patterns are compared with. With labels they can be ranked on.
# data = "mnist-sample"
# resize = "crop"        # how image files get the model's size, also: fit, stretch

# How often a piece of work that failed is tried again before it is recorded and left out.
retries = 2

# Fields of AscentSettings, and preset = "auto", "default", "natural", "author", ... Several
# [[settings]] in place of this one give several runs for each model.
[settings]
starts = 4
steps = 120
seed = 0

# Order the maps by what they know about the label, after the reconstruction.
# [rank]
# estimators = ["predictive", "kde"]
# samples = 2000

# process: in this process. local: several processes of this machine, one per GPU where there are
# GPUs. dask: the workers of a Dask scheduler. slurm: jobs of a Slurm cluster.
[engine]
kind = "process"
# workers = 2            # local: processes; slurm: jobs at once
# threads = 1            # of each process; a fair share of the cores without it
# scheduler = "tcp://127.0.0.1:8786"
# partition = "gpu"      # slurm, also: minutes = 120, memory_gb = 8, together = 4
"""
"""The file that `oip batch JOB.toml --init` writes."""
