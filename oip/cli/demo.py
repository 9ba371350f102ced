"""`oip demo`: the whole line, from images to a gallery."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from oip.cli.options import (
    data_dir_option,
    json_option,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)

RECIPE = "conv-stack"
_STARTS = 4


@click.command()
@click.option(
    "--data",
    "source",
    default="mnist-sample",
    show_default=True,
    metavar="SOURCE",
    help="Images with labels; the sample is part of the installation.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: runs/demo, or runs/demo-SOURCE]",
)
@with_options(data_dir_option, seed_option, json_option, quiet_option)
def command(
    source: str,
    out: Path | None,
    data_dir: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train a small network, reconstruct, rank and show all of its maps.

    The same command goes on where it was stopped.

    \b
    Example:  oip demo
              oip demo --data mnist
    """
    from oip import models
    from oip.cli.progress import shown
    from oip.core.errors import DataError, expected
    from oip.core.files import check_writable

    began = time.monotonic()
    if models.split_source(source)[1] is not None:
        raise DataError(
            expected("--data", "a source without a part (the demo uses both)", f"'{source}'")
        )
    folder = out if out is not None else _folder(source)
    check_writable(folder)
    with shown(quiet) as progress:
        test = models.load(source, data_dir=data_dir, part="test")
        told: dict[str, Any] = {"seconds": {}}
        clock = _Clock(told["seconds"])
        with clock("train"):
            model = _trained(models, source, data_dir, test, folder, seed, progress)
        run = _measured(model, test, folder, seed, clock, progress)
        with clock("gallery"):
            from oip import gallery

            page = gallery.build(
                run, data_images=test.images, data_labels=test.labels, progress=progress
            )
    told["seconds"]["total"] = round(time.monotonic() - began, 1)
    told |= {"run": str(folder), "gallery": str(page), **_summary(run)}
    if as_json:
        print_json(told)
    else:
        _print(told)
    failed = sum(layer["verdicts"].get("failed", 0) for layer in told["layers"])
    return 1 if failed else 0


def _folder(source: str) -> Path:
    name = Path(source).stem
    return Path("runs") / ("demo" if source == "mnist-sample" else f"demo-{name}")


def _trained(
    models: Any,
    source: str,
    data_dir: Path | None,
    test: Any,
    folder: Path,
    seed: int,
    progress: Any,
) -> Path:
    """The demo's model: the one that lies in the folder if it is of this data and seed."""
    from oip.core.errors import RunError, expected
    from oip.network.inputs import read_sidecar

    path = folder / "model.keras"
    if path.exists():
        found = read_sidecar(path) or {}
        wanted = (RECIPE, f"{test.source.rpartition(':')[0]}:train", seed)
        have = (found.get("recipe"), found.get("data"), found.get("settings", {}).get("seed"))
        if have == wanted:
            return path
        raise RunError(
            expected(
                f"'{folder}' holds another demo",
                "recipe {}, data {}, seed {}".format(*wanted),
                "recipe {}, data {}, seed {}".format(*have),
                "Choose another --out.",
            )
        )
    train = models.load(source, data_dir=data_dir, part="train")
    recipe = models.recipe(RECIPE)
    settings = recipe.settings(len(train.images), seed=seed)
    models.train(recipe, train, test, settings, path, progress)
    return path


def _measured(model: Path, test: Any, folder: Path, seed: int, clock: _Clock, progress: Any) -> Any:
    """The OIPs and the rankings of all layers, in the run."""
    from oip.ascent.settings import ascent_settings
    from oip.core.errors import OipError
    from oip.network.layer_spec import parse_selections
    from oip.network.network import Network
    from oip.run.reconstruct import reconstruct_into
    from oip.workflows.rank import rank_into

    network = Network(model)
    selections = parse_selections(network, ())
    with clock("reconstruct"):
        settings = ascent_settings(starts=_STARTS, seed=seed)
        run = reconstruct_into(folder, network, selections, settings, test, progress)
    with clock("rank"):
        for _, told in rank_into(folder, network, selections, test, seed=seed, progress=progress):
            if isinstance(told, OipError):
                raise told
    return run


def _summary(run: Any) -> dict[str, Any]:
    """What the demo says of its run: accuracy; verdicts, best and worst map of each layer."""
    from oip.run.run import Run
    from oip.run.shards import layer_oips

    run = Run.open(run.path)
    layers = []
    for index in run.reconstructed():
        oips = layer_oips(run, index)
        best = (run.ranking(index) or {})["estimators"][0]
        maps = [one for one in best["maps"] if one["mi"] is not None]
        excitable = oips.data_active > 0
        layers.append(
            {
                "layer": oips.layer,
                "index": index,
                "maps": len(oips),
                "verdicts": dict(Counter(oips.verdicts)),
                "excitable": int(excitable.sum()),
                "above_best_image": int((oips.scores[:, 0] > oips.data_scores)[excitable].sum()),
                "estimator": best["estimator"],
                "name_shown": best["name_shown"],
                "most": {"map": maps[0]["map"], "bits": maps[0]["mi"]},
                "least": {"map": maps[-1]["map"], "bits": maps[-1]["mi"]},
            }
        )
    return {"accuracy": run.info.get("accuracy"), "layers": layers}


def _print(told: dict[str, Any]) -> None:
    from oip.ascent.results import VERDICTS
    from oip.cli.tables import print_table

    accuracy = told["accuracy"]
    if accuracy is not None:
        click.echo(f"accuracy on the test images: {100 * accuracy:.1f} %")
    seen = [word for word in VERDICTS if any(word in layer["verdicts"] for layer in told["layers"])]
    columns = [("layer", "left"), ("maps", "right"), *((word, "right") for word in seen)]
    columns += [("above best image", "right"), ("knows most", "right"), ("knows least", "right")]
    rows = [
        (
            layer["layer"],
            layer["maps"],
            *(layer["verdicts"].get(word, 0) for word in seen),
            f"{layer['above_best_image']} of {layer['excitable']}",
            "map {map}: {bits:.2f} bits".format(**layer["most"]),
            "map {map}: {bits:.2f} bits".format(**layer["least"]),
        )
        for layer in told["layers"]
    ]
    print_table(columns, rows)
    click.echo(plain_text(f"bits: {told['layers'][0]['name_shown']} about the label"))
    parts = ", ".join(f"{name} {value:g} s" for name, value in told["seconds"].items())
    click.echo(parts)
    click.echo(plain_text(told["gallery"]))


class _Clock:
    """Seconds of each part of the work, by name."""

    def __init__(self, seconds: dict[str, float]):
        self._seconds = seconds
        self._name = ""
        self._began = 0.0

    def __call__(self, name: str) -> _Clock:
        self._name = name
        return self

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] = round(time.monotonic() - self._began, 1)
