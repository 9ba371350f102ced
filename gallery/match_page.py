"""The page of two matched networks: how alike their layers are, and pairs of units side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oip.core import files
from oip.core.errors import shell_command
from oip.core.formats import LayerMatchRecord, MatchFile, UnitMatch
from oip.core.progress import Progress, silent
from oip.gallery.escape import PageValues, plain_name
from oip.gallery.images import TILE, exact, resized, size_of, webp
from oip.gallery.pages import POLICY, FolderLinks, templates
from oip.gallery.read_run import gallery_address, map_address, path_from
from oip.gallery.site import app_style
from oip.run.run import Run
from oip.run.shards import layer_parts

_SHADES = 10
"""Of the table of layers."""
_GAP = 4
"""Pixels between two OIPs."""
_QUALITY = 85


def write_match_page(
    folder: Path,
    record: MatchFile,
    runs: Sequence[Run | None] = (None, None),
    progress: Progress = silent,
) -> Path:
    """Write `index.html` and the pictures of the pairs beside `match.json`.

    Args:
        folder: of the match.
        record: the match.
        runs: of both networks; None where a network has no OIPs.
        progress: called with the progress of each layer's pictures.

    Returns:
        The page.
    """
    sections = []
    for position, match in enumerate(record.matches):
        pictures: dict[int, tuple[int, int]] = {}
        if runs[0] is not None and runs[1] is not None:
            pictures = _write_pictures(folder, position, match, runs[0], runs[1], progress)
        sections.append(_layer_values(position, match, pictures, folder, runs))
    files.write_text(folder / "assets/app.css", app_style())
    page = templates().get_template("match.html")
    text = page.render(
        policy=POLICY,
        to=FolderLinks(0),
        first=plain_name(record.first),
        second=plain_name(record.second),
        split=plain_name(record.split),
        paired_by=record.paired_by,
        without_gallery=_gallery_commands(folder, record, runs),
        galleries=[None if run is None else gallery_address(folder, run) for run in runs],
        table=_table(record),
        parts=sections,
    )
    path = folder / "index.html"
    files.write_text(path, text)
    return path


def _gallery_commands(
    folder: Path, record: MatchFile, runs: Sequence[Run | None]
) -> list[PageValues]:
    """Return the runs that have OIPs and no gallery, with the command for it in `folder`."""
    names = (record.first, record.second)
    return [
        {
            "name": plain_name(name),
            "command": shell_command("oip", "gallery", f"./{path_from(folder, run)}"),
        }
        for name, run in zip(names, runs, strict=True)
        if run is not None and run.reconstructed() and gallery_address(folder, run) is None
    ]


def _table(record: MatchFile) -> PageValues:
    """Return the alignment of all pairs of layers, each with a shade of 0 to 9."""

    def cell(row: int, column: int) -> PageValues:
        value = record.cka[row][column]
        low, high = record.cka_low[row][column], record.cka_high[row][column]
        interval = "" if low is None or high is None else f"95 %: {low:z.2f} to {high:z.2f}"
        shade = 0 if value is None else int(np.clip(value * _SHADES, 0, _SHADES - 1))
        text = "–" if value is None else f"{value:z.2f}"
        return {"text": text, "shade": shade, "title": interval}

    return {
        "others": [plain_name(name) for name in record.second_layers],
        "rows": [
            {
                "layer": plain_name(name),
                "cells": [cell(row, column) for column in range(len(record.second_layers))],
            }
            for row, name in enumerate(record.layers)
        ],
    }


def _layer_values(
    position: int,
    match: LayerMatchRecord,
    pictures: dict[int, tuple[int, int]],
    folder: Path,
    runs: Sequence[Run | None],
) -> PageValues:
    ordered = sorted(match.maps, key=lambda unit: -(unit.correlation or -2.0))
    percentiles = [unit.percentile for unit in match.maps if unit.percentile is not None]
    links = [
        None if run is None else map_address(folder, run, name)
        for run, name in zip(runs, (match.layer, match.second_layer), strict=True)
    ]
    return {
        "position": position,
        "layer": plain_name(match.layer),
        "other": plain_name(match.second_layer),
        "partners": sum(unit.has_partner for unit in match.maps),
        "units": len(match.maps),
        "others": match.second_units,
        "share": f"{100 * match.share:.0f} %",
        "interval": f"{100 * match.share_low:.0f} to {100 * match.share_high:.0f} %",
        "threshold": f"{match.threshold:g}",
        "median": "–" if match.median is None else f"{match.median:z.2f}",
        "null": None if match.null is None else f"{match.null:z.2f}",
        "aligned": match.by == "aligned" and bool(match.grid),
        "half": match.samples - match.samples // 2,
        "percentile": f"{np.median(percentiles):.0f}" if percentiles else None,
        "pairs": [_unit(unit, pictures, links) for unit in ordered if unit.has_partner],
        "rest": [_unit(unit, pictures, links) for unit in ordered if not unit.has_partner],
    }


def _unit(
    unit: UnitMatch, pictures: dict[int, tuple[int, int]], links: Sequence[str | None]
) -> PageValues:
    correlation = None if unit.correlation is None else f"{unit.correlation:z.2f}"
    interval = None
    if unit.low is not None and unit.high is not None:
        interval = f"{unit.low:z.2f} to {unit.high:z.2f}"
    first, second = links
    return {
        "map": unit.map,
        "partner": unit.partner,
        "correlation": correlation,
        "interval": interval,
        "similarity": None if unit.similarity is None else f"{unit.similarity:z.2f}",
        "percentile": None if unit.percentile is None else f"{unit.percentile:.0f}",
        "size": pictures.get(unit.map),
        "first": first and f"{first}.{unit.map}",
        "second": second and unit.partner is not None and f"{second}.{unit.partner}",
    }


def _write_pictures(
    folder: Path,
    position: int,
    match: LayerMatchRecord,
    first: Run,
    second: Run,
    progress: Progress,
) -> dict[int, tuple[int, int]]:
    """Write a picture of each pair that has both OIPs; return (w, h) of each by its unit."""
    layer = first.reconstructed_layer(match.layer)
    partner_layer = second.reconstructed_layer(match.second_layer)
    if layer is None or partner_layer is None:
        return {}
    partners = {unit.map: unit.partner for unit in match.maps if unit.partner is not None}
    right = tiles_of(second, partner_layer.index, set(partners.values()))
    first_tiles = tiles_of(first, layer.index, set(partners))
    label = f"pictures of {match.layer}"
    sizes: dict[int, tuple[int, int]] = {}
    is_small = exact(size_of(first.record.input.shape)) if first.record.input else False
    for count, (unit_index, partner) in enumerate(partners.items()):
        progress(label, count, len(partners))
        if unit_index in first_tiles and partner in right:
            pair = _side_by_side(first_tiles[unit_index], right[partner])
            content = webp(pair, is_small, _QUALITY)
            files.write_bytes(folder / f"img/{position:03d}/{unit_index:04d}.webp", content)
            sizes[unit_index] = (pair.shape[1], pair.shape[0])
    progress(label, len(partners), len(partners))
    return sizes


def tiles_of(run: Run, index: int, unit_indices: set[int]) -> dict[int, np.ndarray]:
    """Return the OIPs of some units as tiles, uint8, of those that have one."""
    tiles = {}
    for oips in layer_parts(run, index, snapshots=False):
        for row in np.flatnonzero(oips.alive):
            unit_index = int(oips.maps[row])
            if unit_index in unit_indices:
                tiles[unit_index] = resized(oips.displayed(oips.images[row, 0]), TILE)
    return tiles


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return two tiles as one picture, (h, w, 4); what neither of them fills is transparent."""
    pair = [tile if tile.ndim == 3 else np.repeat(tile[..., None], 3, 2) for tile in (left, right)]
    high, wide = max(len(tile) for tile in pair), sum(tile.shape[1] for tile in pair) + _GAP
    picture = np.zeros((high, wide, 4), np.uint8)
    for tile, start in zip(pair, (0, wide - pair[1].shape[1]), strict=True):
        picture[: len(tile), start : start + tile.shape[1], :3] = tile
        picture[: len(tile), start : start + tile.shape[1], 3] = 255
    return picture
