"""Tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from oip.cli.options import plain_text

_WIDTH = 120
"""Columns where stdout is no terminal."""


def print_table(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], title: str = ""
) -> None:
    """Prints a table.

    Args:
        columns: (heading, `left` or `right`).
        rows: cells. Here as in headings, text from models and data is shown as text, whatever is
            in it.
        title: above the table.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(plain_text(title)) if title else None, title_justify="left", box=box.SIMPLE_HEAD
    )
    for heading, side in columns:
        justify = "right" if side == "right" else "left"
        shown = Text(plain_text(heading))
        table.add_column(shown, justify=justify, overflow="fold", no_wrap=side == "right")
    for row in rows:
        table.add_row(*(Text(plain_text(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDTH
    Console(file=sys.stdout, width=width).print(table)


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


_TOP = 10
_BOTTOM = 3


def print_layer(result: dict[str, Any]) -> None:
    """The best and the worst maps by each estimator; no places where there is no order.

    Args:
        result: what `oip rank --json` prints of the layer.
    """
    from oip.mi.ranking import WITH_ORDER

    lost = _lost(result)
    for told in result["estimators"]:
        maps = told["maps"]
        title = (
            f"{result['layer']}: {told['name_shown']}, of {told['ceiling']:.3f} bits, "
            f"{told['samples']} images of {told['split']}"
        )
        click.echo(plain_text(title))
        if not told["ordered"]:
            click.echo(f"  saturated: no order; use --estimator {WITH_ORDER}\n")
            continue
        columns = [
            ("rank", "right"),
            ("map", "right"),
            ("bits", "right"),
            ("95 %", "left"),
            ("p adjusted", "right"),
            ("tells most about", "left"),
        ]
        if told["input_ceiling"] is not None:
            columns.append((f"input, of {told['input_ceiling']:.2f}", "right"))
        if lost:
            columns.append(("loss gains without", "right"))
        gap = len(maps) > _TOP + _BOTTOM
        rows = [_row(one, told, result["classes"], lost) for one in (maps[:_TOP] if gap else maps)]
        if gap:
            rows.append(("...", *[""] * (len(columns) - 1)))
            rows += [_row(one, told, result["classes"], lost) for one in maps[-_BOTTOM:]]
        print_table(columns, rows)
    _print_agreement(result)


def _row(
    one: dict[str, Any], told: dict[str, Any], classes: list[str], lost: dict[int, float]
) -> tuple[str, ...]:
    place = f"{one['rank']} ({one['rank_low']}-{one['rank_high']})"
    cells = [place, str(one["map"])]
    if one["mi"] is None:
        cells += ["-", "not finite", "-", "-"]
    else:
        best = max(range(len(classes)), key=lambda code: one["per_class"][code])
        share = one["per_class_share"][best]
        cells += [
            f"{one['mi']:.3f}" + (" saturated" if one["saturated"] else ""),
            "-" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}",
            "-" if one["p_adjusted"] is None else f"{one['p_adjusted']:.2g}",
            f"{classes[best]} ({one['per_class'][best]:.3f}, {share:.0%})"
            if one["per_class"][best] >= 0.0005
            else "-",
        ]
    if told["input_ceiling"] is not None:
        cells.append(number(one["input"], 2))
    if lost:
        effect = lost.get(one["map"])
        cells.append(number(None if effect is None else round(effect, 4) + 0.0, 4))
    return tuple(cells)


def _lost(result: dict[str, Any]) -> dict[int, float]:
    told = result.get("ablation", {})
    return {one["map"]: one["loss_increase"] for one in told.get("maps", ())}


def _print_agreement(result: dict[str, Any]) -> None:
    """How far the orders agree, with each other and with what the network loses."""
    for pair in result["agreement"]:
        if pair["kendall"] is not None:
            first, second = pair["estimators"]
            click.echo(f"{first} and {second}: Kendall's tau {pair['kendall']:.2f}")
    told = result.get("ablation")
    if told is None:
        return
    for one in told["agreement"]:
        if one["spearman"] is not None:
            click.echo(
                f"{one['estimator']} and loss without the map: Spearman {one['spearman']:.2f} "
                f"(set to {told['silenced_to']}, {told['samples']} images; the loss of the whole "
                f"network is {told['loss']:.3f} bits)"
            )


def print_kernels(told: dict[str, Any], layer: str, most: int = 8) -> None:
    """The best kernels of each map on stdout."""
    rows = []
    for one in told["maps"]:
        for place, kernel in enumerate(one["kernels"][:most]):
            rows.append(
                (
                    one["map"] if not place else "",
                    f"{kernel['input']} of {one['of']}" if not place else kernel["input"],
                    number(kernel["mi"]),
                    number(kernel["with_map"]),
                    "-" if kernel["p_adjusted"] is None else f"{kernel['p_adjusted']:.2g}",
                )
            )
    title = f"{layer}: kernels by {told['name_shown']}, {told['samples']} images of {told['split']}"
    headings = ("map", "input channel", "bits", "bits with the map", "p adjusted")
    print_table([(heading, "right") for heading in headings], rows, title)


def print_redundancy(told: dict[str, Any], most: int = 8) -> None:
    """Clusters of maps that share most of what they hold, and where groups saturate."""
    click.echo(plain_text(f"{told['layer']}: redundancy, {told['samples']} images"))
    groups = [group for group in told["clusters"] if len(group) > 1]
    for group in groups[:most]:
        click.echo(f"  share at least 90 % on average: {', '.join(map(str, group))}")
    if not groups:
        click.echo("  no maps share 90 % of what they hold")
    rows = [
        (
            one["maps"],
            number(one["input"]),
            number(one["label"]),
            "saturated" if one["saturated"] else "",
        )
        for one in told["together"]
    ]
    headings = ("maps together", "right"), ("bits of input", "right"), ("bits of label", "right")
    print_table((*headings, ("", "left")), rows)
