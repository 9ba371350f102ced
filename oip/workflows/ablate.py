"""Ablation of maps into a run: the loss of a model without each of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from oip.core.layer_formats import AblationFile, RankCorrelation, RankingFile
from oip.core.progress import Progress, automatic
from oip.core.units import finite_or_none
from oip.mi.ablation import ablate
from oip.mi.ranking import spearman
from oip.run.run import Run
from oip.run.shards import key_of
from oip.workflows.inputs import opened
from oip.workflows.layer_records import (
    RankedLayer,
    check_classes,
    content_key,
    record_of_all_maps,
)

if TYPE_CHECKING:
    from oip.workflows.inputs import Images, Model


def ablate_into(
    out: str | Path,
    model: Model,
    ranking: RankingFile | RankedLayer,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    silenced_to: Literal["zero", "mean"] = "zero",
    samples: int = 2000,
    seed: int = 0,
    progress: Progress = automatic,
) -> AblationFile:
    """Silence the maps of a ranking one by one, and write `ablation.json` of the layer.

    Args:
        out: the folder of a run that exists.
        model: a file, a Keras model or a `Network`.
        ranking: the ranking of the layer, as `rank_into` returns it.
        data, labels, resize: as for `rank_into`.
        silenced_to: the value that a map is set to: `zero` or `mean`.
        samples, seed: as for `mi.ablate`.
        progress: called with the number of maps that are done.

    Returns:
        The loss increase without each map, with `agreement`: Spearman's correlation of it with the
        information by each estimator, None where there is no order.

    Raises:
        ModelError: the model does not end in classes.
        DataError: no labels, or another number of classes than the model's.
        RunError: no run in the folder.

    >>> ranked = oip.rank_into("runs/mine", "model.keras", data="mnist-sample")  # doctest: +SKIP
    >>> oip.ablate_into(
    ...     "runs/mine", "model.keras", ranked[0], data="mnist-sample"
    ... )  # doctest: +SKIP
    """
    if isinstance(ranking, RankedLayer):
        ranking = ranking.ranking
    network, images = opened(model, data, labels, resize=resize)
    check_classes(network, images)
    layer = network.layer_at(ranking.index)
    maps = {row.map for row in ranking.estimators[0].maps if row.mi is not None}
    run = Run.open(out)
    path = run.folder(layer.index) / "ablation.json"
    content = content_key(network, images)

    def key(numbers: list[int]) -> str:
        settings = [silenced_to, samples, seed, layer.index, numbers]
        return key_of({**content, "settings": settings})

    def make(numbers: list[int]) -> tuple[AblationFile, None]:
        there = AblationFile.read_if_whole(path)
        if there is not None and there.key != key(there.numbers()):
            there = None  # of other settings
        rows = {row.map: row for row in there.maps} if there is not None else {}
        ablation = ablate(
            network,
            images.images,
            images.labels,
            layer,
            maps=[number for number in numbers if number not in rows],
            to=silenced_to,
            samples=samples,
            seed=seed,
            split=images.source,
            progress=progress,
        )
        record = ablation.to_file(key(numbers))
        rows |= {row.map: row for row in record.maps}
        return msgspec.structs.replace(record, maps=[rows[name] for name in sorted(rows)]), None

    record = record_of_all_maps(path, AblationFile, None, layer, maps, key, make)
    agreement = agreement_with(
        RankingFile.read_if_whole(path.parent / "ranking.json") or ranking, record
    )
    if record.agreement != agreement:
        record = msgspec.structs.replace(record, agreement=agreement)
        record.write(path)
    run.note_made(layer.index, path.name)
    return msgspec.structs.replace(record, maps=[row for row in record.maps if row.map in maps])


def agreement_with(ranking: RankingFile, ablation: AblationFile) -> list[RankCorrelation]:
    """Return Spearman's correlation of the loss increase with each estimator's information."""
    effects = {row.map: row.loss_increase for row in ablation.maps}
    correlations = []
    for by in ranking.estimators:
        pairs = [(row.mi, effects.get(row.map)) for row in by.maps]
        information, effect = np.array(pairs, dtype=float).reshape(-1, 2).T
        value = finite_or_none(spearman(information, effect)) if by.ordered else None
        correlations.append(RankCorrelation(estimator=by.estimator, spearman=value))
    return correlations
