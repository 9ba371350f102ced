"""Two runs side by side, map by map: two checkpoints, two seeds, two settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from oip.ascent.results import Oips
from oip.ascent.similarity import image_similarity, shift_reach
from oip.core import html
from oip.core.errors import RunError
from oip.core.formats import LayerRecord
from oip.core.layer_formats import MapInformation
from oip.core.units import finite_or_none
from oip.run.run import Run
from oip.run.shards import read_shard

if TYPE_CHECKING:
    from pandas import DataFrame

_LEAST_PEERS = 8

Pair = tuple[float | None, float | None]


@dataclass(frozen=True)
class MapComparison:
    """One map in both runs; pairs are of the first and the second run, None where not known."""

    map: int
    verdicts: tuple[str, str] | None = None
    scores: Pair | None = None
    similarity: float | None = None
    """Of the best images: the largest normalized cross-correlation over shifts of one pooled cell,
    -1 to 1."""
    percentile: float | None = None
    """0 to 100: of `similarity` among those to the second run's other maps of the same block; None
    with fewer than 8 of them."""
    ranks: Pair | None = None
    mi: Pair | None = None
    """Bits, by the first estimator of both rankings."""


@dataclass(frozen=True)
class LayerComparison:
    """The maps of one layer in both runs."""

    layer: str
    index: int
    """In the first run."""
    maps: tuple[MapComparison, ...]
    same_verdict: int
    """How many maps have one verdict in both."""
    median_similarity: float | None
    score_correlation: float | None
    """Spearman's, as `mi_correlation`."""
    mi_correlation: float | None
    estimator: str | None
    """The first of both rankings, None where they differ."""


@dataclass(frozen=True)
class Comparison:
    """Two runs, layer by layer."""

    runs: tuple[str, str]
    same_model: bool
    layers: tuple[LayerComparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `oip compare --json` prints them."""
        return asdict(self)

    def to_pandas(self) -> DataFrame:
        """Return a row for each layer and map; pairs have a column for each run."""
        import pandas

        rows = []
        for layer in self.layers:
            for entry in layer.maps:
                row: dict[str, Any] = {"layer": layer.layer, "map": entry.map}
                for name in ("verdicts", "scores", "ranks", "mi"):
                    pair = getattr(entry, name) or (None, None)
                    row |= {f"{name}:1": pair[0], f"{name}:2": pair[1]}
                rows.append(row | {"similarity": entry.similarity, "percentile": entry.percentile})
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer.layer} ({len(layer.maps)} maps)" for layer in self.layers)
        return f"<Comparison of {self._title()}: {layers}>"

    def _repr_html_(self) -> str:
        names = ("layer", "maps", "same verdict", "similarity, median", "scores, Spearman")
        rows = [
            (
                layer.layer,
                len(layer.maps),
                layer.same_verdict,
                layer.median_similarity,
                layer.score_correlation,
                layer.mi_correlation,
            )
            for layer in self.layers
        ]
        return html.block(self._title(), html.table((*names, "bits, Spearman"), rows))

    def _title(self) -> str:
        models = "the same model" if self.same_model else "different models"
        return " and ".join(self.runs) + f" ({models})"


def compare_runs(first: str | Path | Run, second: str | Path | Run) -> Comparison:
    """Compare the same maps of the same layers of two runs.

    Between two models a map's number only means the same where one was trained on from the other.

    Args:
        first, second: runs, or their folders.

    Returns:
        The layers that both have, with the maps that both have.

    Raises:
        RunError: inputs of different shapes, no layer in both, or a damaged shard.
    """
    first, second = Run.of(first), Run.of(second)
    shapes = [tuple(run.record.input.shape) if run.record.input else () for run in (first, second)]
    if shapes[0] != shapes[1]:
        raise RunError("the runs' inputs", f"one shape, {shapes[0]}", shapes[1])
    indices = {_identity(layer): layer.index for layer in second.layers}
    layers = [
        _compare_layer(first, second, layer, indices[_identity(layer)])
        for layer in first.layers
        if _identity(layer) in indices
    ]
    layers = [layer for layer in layers if layer.maps]
    if not layers:
        raise RunError(f"'{first.path}' and '{second.path}'", "maps that both have", "none")
    return Comparison(
        runs=(str(first.path), str(second.path)),
        same_model=first.record.model.sha256 == second.record.model.sha256,
        layers=tuple(layers),
    )


def _identity(layer: LayerRecord) -> tuple[str, ...]:
    """Return a layer's name; for objectives all of their expressions."""
    return (layer.name, *(layer.objectives or ()))


def _compare_layer(
    first: Run, second: Run, layer: LayerRecord, second_index: int
) -> LayerComparison:
    maps: dict[int, MapComparison] = {}
    second_shards = {path.name: path for path in second.shards(second_index)}
    for path in first.shards(layer.index):
        if path.name in second_shards:
            paths = (path, second_shards[path.name])
            left, right = (read_shard(entry, snapshots=False)[0] for entry in paths)
            maps |= {entry.map: entry for entry in _compare_block(left, right, layer.jump)}
    table, other_table = _first_table(first, layer.index), _first_table(second, second_index)
    estimator = None
    if table is not None and other_table is not None and table.kind == other_table.kind:
        estimator = table.estimator
        for map_index in table.maps.keys() & other_table.maps.keys():
            row, other_row = table.maps[map_index], other_table.maps[map_index]
            maps[map_index] = replace(
                maps.get(map_index, MapComparison(map_index)),
                ranks=(row.rank, other_row.rank),
                mi=(row.mi, other_row.mi),
            )
    rows = tuple(maps[map_index] for map_index in sorted(maps))
    verdicts = [entry.verdicts for entry in rows if entry.verdicts is not None]
    similarities = [entry.similarity for entry in rows if entry.similarity is not None]
    return LayerComparison(
        layer=layer.name,
        index=layer.index,
        maps=rows,
        same_verdict=sum(pair[0] == pair[1] for pair in verdicts),
        median_similarity=float(np.median(similarities)) if similarities else None,
        score_correlation=_correlation(entry.scores for entry in rows),
        mi_correlation=_correlation(entry.mi for entry in rows),
        estimator=estimator,
    )


def _compare_block(
    first: Oips, second: Oips, jump: list[int | float] | None
) -> Iterable[MapComparison]:
    common, rows, second_rows = np.intersect1d(first.maps, second.maps, return_indices=True)
    if not common.size:
        return
    reach = shift_reach(jump, first.images.shape[2:-1])
    similarities = image_similarity(first.images[rows, 0], second.images[:, 0], reach)
    first_alive, second_alive = first.alive, second.alive
    first_verdicts, second_verdicts = first.verdicts, second.verdicts
    for map_index, row, second_row, similarity in zip(
        common.tolist(), rows, second_rows, similarities, strict=True
    ):
        both_alive = bool(first_alive[row] and second_alive[second_row])
        peers = np.delete(similarity, second_row)[np.delete(second_alive, second_row)]
        value = float(similarity[second_row])
        enough = both_alive and len(peers) >= _LEAST_PEERS
        yield MapComparison(
            map=map_index,
            verdicts=(first_verdicts[row], second_verdicts[second_row]),
            scores=(
                finite_or_none(first.scores[row, 0]),
                finite_or_none(second.scores[second_row, 0]),
            ),
            similarity=value if both_alive else None,
            percentile=float(100.0 * np.mean(peers < value)) if enough else None,
        )


class _RankingTable(NamedTuple):
    """The first table of a layer's ranking."""

    estimator: str
    kind: tuple[str, str, bool]
    """The estimator, what the ranking is about, and whether labels are tags."""
    maps: dict[int, MapInformation]


def _first_table(run: Run, index: int) -> _RankingTable | None:
    """Return the first table of a layer's ranking, None where there is none."""
    ranking = run.ranking(index)
    if ranking is None or not ranking.estimators:
        return None
    table = ranking.estimators[0]
    kind = (table.estimator, ranking.about, ranking.tags)
    return _RankingTable(table.estimator, kind, {row.map: row for row in table.maps})


def _correlation(pairs: Iterable[Pair | None]) -> float | None:
    """Return Spearman's correlation of pairs, leaving out those of which one is not known.

    None with fewer than 3 pairs, or where all numbers of one side are equal.
    """
    from scipy.stats import rankdata

    complete = [pair for pair in pairs if pair is not None and None not in pair]
    if len(complete) < 3:
        return None
    ranks = rankdata(np.array(complete, float), axis=0)
    if not ranks.std(axis=0).all():
        return None
    return float(np.corrcoef(ranks.T)[0, 1])
