"""What `oip reconstruct` says when it is done."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from oip.cli.options import plain_text
from oip.cli.tables import number, print_table

_FEW = 24
"""Maps, of all layers together, that are listed without being asked for."""
_COLUMNS = (
    ("map", "right"),
    ("verdict", "left"),
    ("score", "right"),
    ("best image", "right"),
    ("stability", "right"),
    ("of null", "right"),
    ("patterns", "right"),
    ("medoids", "right"),
    ("steps", "right"),
    ("ended", "left"),
)


def status(result: dict[str, Any]) -> int:
    """0, or 1 where some maps failed, or 2 where all did."""
    verdicts = [one["verdict"] for layer in result["layers"] for one in layer["maps"]]
    failed = verdicts.count("failed")
    if failed:
        click.echo(
            f"oip: {failed} of {len(verdicts)} maps failed: responses that are not finite, "
            "or no OIP for a map that data excite.",
            err=True,
        )
    return 0 if not failed else 2 if failed == len(verdicts) else 1


def print_summary(result: dict[str, Any], details: bool = False) -> None:
    """Maps by verdict for each layer, pixels that a layer does not see, and maps by themselves.

    Args:
        result: of `oip.run.recording.summary`.
        details: list the maps of every layer; without it those of one layer, or a few in all.
    """
    from oip.ascent.results import VERDICTS

    layers = result["layers"]
    columns = (("layer", "left"), ("maps", "right"), *((word, "right") for word in VERDICTS))
    print_table((*columns, ("above best image", "right")), map(_counts, layers))
    for layer in layers:
        if layer["unseen_pixels"]:
            seen = layer["pixels"] - layer["unseen_pixels"]
            text = f"{layer['layer']} sees {seen} of {layer['pixels']} pixels"
            click.echo(plain_text(f"{text}; the others have the background."))
    few = sum(len(layer["maps"]) for layer in layers) <= _FEW
    if details or few or len(layers) == 1:
        for layer in layers:
            title = layer["layer"] if len(layers) > 1 else ""
            print_table(_COLUMNS, map(_evidence, layer["maps"]), title)
    click.echo(plain_text(f"{result['run']} ({result['seconds']} s)"))


def _counts(layer: dict[str, Any]) -> tuple[object, ...]:
    """A layer's row: its maps by verdict."""
    from oip.ascent.results import VERDICTS

    maps = layer["maps"]
    counts = Counter(one["verdict"] for one in maps)
    excitable = [one for one in maps if one["data_active"] and one["data_score"] is not None]
    above = sum((one["score"] or 0) > one["data_score"] for one in excitable)
    return (
        layer["layer"],
        len(maps),
        *(counts.get(verdict, 0) for verdict in VERDICTS),
        f"{above} of {len(excitable)}" if excitable else "-",
    )


def _evidence(one: dict[str, Any]) -> tuple[object, ...]:
    """A map's row."""
    return (
        plain_text(one.get("objective", one["map"])),
        one["verdict"] + (" (proved)" if one["provably_dead"] else ""),
        number(one["score"]),
        number(one["data_score"]),
        number(one["stability"], 2),
        "null" if one["null_percentile"] is None else f"{one['null_percentile']:.0f} %",
        one["patterns"] or "-",
        ", ".join(map(str, one["medoids"])) or "-",
        one["steps"],
        one["reason"],
    )
