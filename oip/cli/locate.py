"""`oip locate`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from oip.cli.inputs import apply_input, input_options
from oip.cli.options import (
    data_dir_option,
    import_option,
    json_option,
    note,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)
from oip.workflows.inputs import load_data, open_network

SCHEMA = 1
_TOGETHER = 64
"""Maps at a time: their images are in memory."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("selections", nargs=-1, required=True, metavar="LAYER[:MAPS]...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of pictures.")
@with_options(
    click.option(
        "--count",
        type=click.IntRange(1, 32),
        default=8,
        show_default=True,
        help="Images of each map.",
    ),
    click.option(
        "--translation",
        is_flag=True,
        help="Also the OIPs of several nodes of each map, and how they lie to each other.",
    ),
    click.option(
        "--starts",
        type=click.IntRange(1, 64),
        default=4,
        show_default=True,
        help="Images grown for each node.",
    ),
)
@input_options
@with_options(data_dir_option, import_option, seed_option, json_option, quiet_option)
def command(
    model: Path,
    selections: tuple[str, ...],
    out: Path,
    count: int,
    translation: bool,
    starts: int,
    source: str | None,
    data_dir: Path | None,
    imports: tuple[str, ...],
    input_size: str | None,
    input_name: str | None,
    seed: int,
    as_json: bool,
    quiet: bool,
    **statistics: str | None,
) -> int:
    """Find where in images the patterns of maps are: the places of the strongest responses.

    LAYER is a name, outer/inner for nested models, or @INDEX as 'oip layers' prints it; MAPS is
    all, 3, 0-15 or 0,4,9. Writes a picture for each map, with the receptive field drawn on every
    image, and locations.json. Beside the images stands the OIP of the layer's central node; 'match'
    says how like it the pixels in the field are, with the place of that among other images.

    \b
    Example:  oip locate model.keras Conv2D_3:0-15 --data mnist-sample --out places
    """
    from oip.ascent.localization import locate
    from oip.ascent.translation import translation as translated
    from oip.cli.progress import shown
    from oip.core import files
    from oip.core.errors import SettingsError, expected
    from oip.network.layer_spec import parse_selections

    began = time.monotonic()
    if source is None:
        raise SettingsError(expected("oip locate", "images to look through", "no --data"))
    files.check_writable(out)
    data = load_data(source, data_dir)
    network = open_network(model, imports, data, input_size, input_name)
    chosen = parse_selections(network, selections)
    told_of_input: Any = statistics
    apply_input(network, data, quiet=quiet, **told_of_input)
    told: dict[str, list[Any]] = {"layers": []}
    written: list[Path] = []
    unusable = 0
    with shown(quiet) as progress:
        for layer, maps in chosen:
            parts = []
            for first in range(0, len(maps), _TOGETHER):
                block = maps[first : first + _TOGETHER]
                found = locate(
                    network,
                    data.images,
                    f"@{layer.index}",
                    block,
                    count=count,
                    labels=data.labels,
                    classes=data.classes if data.labels is not None else None,
                    starts=starts,
                    seed=seed,
                    progress=progress,
                )
                parts.append(found.to_dict())
                if found.unusable.size:
                    unusable += found.unusable.size
                    listed = ", ".join(str(number) for number in found.unusable[:8])
                    note(plain_text(f"oip: {layer.name}: not finite: maps {listed}"), quiet)
                written += _drawn(found, out, "places")
                if translation:
                    place = f"@{layer.index}"
                    moved = translated(
                        network, place, block, starts=starts, seed=seed, progress=progress
                    )
                    parts[-1]["translation"] = moved.to_dict()
                    written += _drawn(moved, out, "nodes")
            told["layers"].append(_joined(parts))
    files.write_json(out / "locations.json", {"schema": SCHEMA, "data": data.source, **told})
    if as_json:
        print_json({"out": str(out), "files": [path.name for path in written], **told})
        return _status(unusable, chosen)
    for one in told["layers"]:
        _print(one, data.source)
    seconds = f"{time.monotonic() - began:.0f} s"
    click.echo(plain_text(f"{len(written)} pictures and locations.json in {out} ({seconds})"))
    return _status(unusable, chosen)


def _status(unusable: int, chosen: list[tuple[Any, Any]]) -> int:
    """0, or 1 where the responses of some maps are not finite, or 2 where those of all are."""
    return 0 if not unusable else 2 if unusable == sum(len(maps) for _, maps in chosen) else 1


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Blocks of maps of one layer as one."""
    whole = {**parts[0], "maps": [one for part in parts for one in part["maps"]]}
    if "translation" in whole:
        whole["translation"] = _joined([part["translation"] for part in parts])
    return whole


def _drawn(found: Any, out: Path, word: str) -> list[Path]:
    """A picture for each map; names come from numbers, never from names of layers."""
    from oip.core import plots

    paths = []
    for one in found:
        path = out / f"{found.index:03d}-{word}-{one.maps[0]:04d}.png"
        paths.append(plots.save(one.plot(), path))
    return paths


def _print(told: dict[str, Any], source: str) -> None:
    from oip.cli.tables import number, print_table

    rows = []
    for one in told["maps"]:
        places = one["places"]
        best = places[0] if places else None
        matches = [place["match"] for place in places if place.get("match") is not None]
        ranks = [place["match_percentile"] for place in places if place.get("match") is not None]
        labels = [place["label"] for place in places if "label" in place]
        rows.append(
            (
                one["map"],
                "not finite" if one["excited"] is None else f"{one['excited']:.1%}",
                "-" if best is None else best["image"],
                "-" if best is None else ",".join(map(str, best["node"])),
                number(None if best is None else best["response"]),
                number(_median(matches), 2),
                "-" if not ranks else f"{_median([r for r in ranks if r is not None]):.0f} %",
                " ".join(dict.fromkeys(labels)),
            )
        )
    columns = (
        ("map", "right"),
        ("images that excite it", "right"),
        ("strongest in", "right"),
        ("node", "right"),
        ("response", "right"),
        ("match", "right"),
        ("of others", "right"),
        ("classes", "left"),
    )
    print_table(columns, rows, f"{told['layer']}: {told['searched']} images of {source}")
    if "translation" in told:
        _print_moved(told["translation"])


def _print_moved(told: dict[str, Any]) -> None:
    from oip.cli.tables import number, print_table

    reference = told["nodes"].index(told["reference"])
    rows = []
    for one in told["maps"]:
        others = [node for place, node in enumerate(one["nodes"]) if place != reference]
        cells = [
            number(_median([node[name] for node in others if node[name] is not None]), 2)
            for name in ("agreement", "unmoved", "aligned")
        ]
        own = one["nodes"][reference]
        rows.append((one["map"], *cells, number(own["aligned"], 2)))
    headings = (
        "map",
        "pairs at the expected shift",
        "similarity unmoved",
        "moved as expected",
        "starts of one node",
    )
    title = f"{told['layer']}: OIPs of {len(told['nodes'])} nodes (medians over nodes)"
    print_table([(heading, "right") for heading in headings], rows, title)


def _median(values: list[float]) -> float | None:
    from statistics import median

    return median(values) if values else None
