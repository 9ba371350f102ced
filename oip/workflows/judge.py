"""Legibility of every unit of a run, judged by another network or by pixels."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from oip.ascent.targets import objective_targets
from oip.core.errors import ModelError, OipError, RunError, did_you_mean, notice
from oip.core.formats import LayerRecord
from oip.core.layer_formats import ClustersFile, LegibilityFile, PresetsFile
from oip.core.progress import Progress, automatic
from oip.core.records import finished
from oip.mi.judges import (
    PIXELS,
    Judge,
    PictureScale,
    feature_directions,
    judge_of,
    own_features,
)
from oip.mi.legibilities import (
    Legibility,
    check_count,
    judged_units,
    oip_pictures,
    shown_features,
    usable_oips,
)
from oip.mi.polysemanticity import OWN, ImageClusters, clusters_of_units
from oip.network.forward import compiled_for_images, means_of_layers, run_in_batches
from oip.network.inputs import check_images, with_bands
from oip.network.network import Network
from oip.run.run import Run
from oip.run.shards import data_digest, key_of, layer_parts, maps_in_shards, shard_key
from oip.workflows.directions import with_run_directions
from oip.workflows.inputs import opened_run

if TYPE_CHECKING:
    from oip.models import Dataset
    from oip.workflows.inputs import Images, Model

NAME, CLUSTERS = "legibility.json", "clusters.json"
Features = Literal["judge", "own"]
"""Of clusters of images: the judge's, or those of the run's own model."""


def judge_into(
    run: str | Path | Run,
    *,
    data: Images,
    judge: str | Model | Judge = PIXELS,
    judge_layer: str | None = None,
    clusters: Features | None = None,
    model: Model | None = None,
    imports: Sequence[str] = (),
    resize: str | None = None,
    data_dir: str | Path | None = None,
    errors: list[OipError] | None = None,
    progress: Progress = automatic,
) -> list[LegibilityFile]:
    """Judge the OIPs of every layer of a run, and write `legibility.json` of each.

    With `clusters`, also count the kinds of images that excite each unit, see `mi.image_clusters`,
    and write `clusters.json` of each.

    What was judged by the same judge with the same images is not judged again; the same call goes
    on where it was stopped.

    Args:
        run: a run with OIPs, or its folder.
        data: a source, or images (n, h, w, bands), 200 at least; labels are not needed.
        judge: another Keras model, its path, a name that `models.pretrained` knows, or `pixels`:
            histograms of oriented gradients of small gray images.
        judge_layer: of a model, whose output is compared; the penultimate features if None.
        clusters: whose features tell kinds of images apart: `judge`, or `own` for those of the
            run's model; None for no clusters.
        model: the run's model; None where its file lies in the run's folder, beside it or here.
        imports: modules that register custom layers of the model or the judge.
        resize, data_dir: as for `models.load`.
        errors: takes the errors of layers whose units cannot be measured; None for notices.
        progress: called with the progress of each step.

    Returns:
        The legibility of each layer, deepest last, without layers that cannot be measured.

    Raises:
        RunError: no run with OIPs, or its model is not found, or is another one.
        ModelError: a judge that cannot be opened, or is the model itself.
        DataError: too few images, or images that do not fit the model or the judge.

    References:
        See `mi.legibility`.

    >>> oip.judge_into("runs/mine", data="photographs.npz", judge="other.keras")  # doctest: +SKIP
    """
    run = Run.of(run)
    if not run.reconstructed():
        raise RunError(f"'{run.path}'", "a run with OIPs", "none", "Use 'oip reconstruct'.")
    network, images = opened_run(run, model, data, imports, data_dir=data_dir, resize=resize)
    network = with_run_directions(network, run.path)
    check_images(network.inputs, images.images, "data")
    check_count(len(images.images))
    session = JudgedRun.of(run, network, images, judge, judge_layer, imports, progress)
    unmeasured: list[OipError] = []
    records = list(session.layers(unmeasured))
    _warn_of_chosen_presets(run, records, images.source)
    if clusters is not None:
        for record in records:
            session.clusters(record.index, clusters)
    if errors is not None:
        errors += unmeasured
    else:
        for error in unmeasured:
            notice(str(error))
    return records


def _warn_of_chosen_presets(run: Run, records: Sequence[LegibilityFile], source: str) -> None:
    """Warn where presets were kept because a judge read them best on these images."""
    for record in records:
        presets = PresetsFile.read_if_whole(run.folder(record.index) / "presets.json")
        if presets is not None and presets.split.startswith(f"{source},"):
            notice(
                f"{record.layer}: the presets of its units were chosen with "
                f"{presets.samples} of these images, for which shares are too high. Judge by other "
                "images, or give the command of 'oip reconstruct --preset best' again, which "
                "judges by those that nothing was chosen with."
            )


class JudgedRun:
    """A run, the images and the judge; responses and features are computed once.

    Args:
        run: with OIPs.
        network: the run's model, its input as in the run.
        data: images that fit the model.
        judge: opened.
        progress: called with the progress of each step.
    """

    def __init__(
        self,
        run: Run,
        network: Network,
        data: Dataset,
        judge: Judge,
        progress: Progress = automatic,
    ):
        self.run, self.network, self.judge, self.progress = run, network, judge, progress
        self._digest = data_digest(with_bands(data.images, network.inputs.shape))
        self.images = check_images(network.inputs, data.images, "data")
        self.source = data.source
        self.scale = PictureScale.of(network.inputs, self.images)
        self._responses: dict[int, np.ndarray] = {}

    @classmethod
    def of(
        cls,
        run: Run,
        network: Network,
        images: Dataset,
        judge: str | Model | Judge,
        judge_layer: str | None = None,
        imports: Sequence[str] = (),
        progress: Progress = automatic,
    ) -> JudgedRun:
        """Open the judge for a run whose model and images are open."""
        from oip import models
        from oip.models.imagenet import NETWORKS

        if isinstance(judge, str) and judge in NETWORKS:
            judge = models.pretrained(judge)
        elif isinstance(judge, str) and judge != PIXELS and not Path(judge).exists():
            expected = f"{PIXELS}, a .keras or .h5 file, or {', '.join(NETWORKS)}"
            hint = did_you_mean(judge, [PIXELS, *NETWORKS])
            raise ModelError(f"judge '{judge}'", expected, "no such file or name", hint)
        inputs = check_images(network.inputs, images.images, "data")
        scale = PictureScale.of(network.inputs, inputs)
        opened_judge = judge_of(judge, judge_layer, network, inputs, scale, tuple(imports))
        if run.record.classes and network.classes is None:
            network = network.with_classes(run.record.classes)
        return cls(run, network, images, opened_judge, progress)

    def with_run(self, run: Run) -> JudgedRun:
        """Return the same images and judge, with all that was computed, for another run."""
        judged_run = copy.copy(self)
        judged_run.run = run
        return judged_run

    def layers(self, errors: list[OipError] | None = None) -> Iterator[LegibilityFile]:
        """Judge the layers that have OIPs and are not judged in this way, and yield each result.

        Args:
            errors: takes the errors of layers that cannot be measured; without it they are raised.
        """
        indices = self.run.reconstructed()
        open_layers = [index for index in indices if self.finished(index) is None]
        for index in indices:
            try:
                yield self.finished(index) or self._judged(index, open_layers)
            except (ModelError, RunError) as error:
                if errors is None:
                    raise
                errors.append(error)
                if len(errors) == len(indices):
                    raise

    def finished(self, index: int) -> LegibilityFile | None:
        """Return the saved legibility of all units of a layer by this judge and data, or None."""
        maps = maps_in_shards(self.run, index)
        return finished(self.run.folder(index) / NAME, self._key(index, maps), LegibilityFile)

    def _key(self, index: int, maps: np.ndarray) -> str:
        return key_of(
            {
                **self._content,
                "layer": index,
                "maps": maps.tolist(),
                "shards": sorted({shard_key(path) or "" for path in self.run.shards(index)}),
            }
        )

    @cached_property
    def _content(self) -> dict[str, Any]:
        return {
            "model": self.network.digest,
            "images": self._digest,
            "judge": [self.judge.name if not self.judge.digest else "", self.judge.digest],
            "judge_layer": self.judge.layer,
        }

    def _judged(self, index: int, open_layers: Iterable[int]) -> LegibilityFile:
        """Judge a layer and write its file."""
        layer = self.run.layer(index)
        features, counts, maps = [], [], []
        for oips in layer_parts(self.run, index, snapshots=False):
            pictures, usable = oip_pictures(oips, self.scale), usable_oips(oips)
            label = f"{layer.name}: OIPs seen by {self.judge.name}"
            features.append(
                shown_features(self.judge, pictures, usable, self._mean, self.progress, label)
            )
            counts.append(usable.sum(1))
            maps.append(oips.maps)
        numbers = np.concatenate(maps)
        key = self._key(index, numbers)  # another process may have grown further maps
        answers = judged_units(
            self.responses(layer, open_layers)[:, numbers],
            self._directions,
            np.concatenate(features),
            np.concatenate(counts),
            self.progress,
            layer.name,
        )
        result = Legibility.of(
            answers, layer.name, index, numbers, self.judge, len(self.images), self.source
        )
        record = result.to_file(key)
        self.run.keep(index, NAME, record)
        return record

    def clusters(self, index: int, whose: Features = "judge") -> ClustersFile:
        """Count the clusters of images of every unit of a layer, and write their file.

        Args:
            index: of a layer with OIPs.
            whose: features.

        Returns:
            The clusters; those that are there where they were counted in the same way.
        """
        layer, content = self.run.layer(index), {**self._content, "clusters": whose}
        content["schema"] = ClustersFile.SCHEMA
        if whose == "own":
            del content["judge"], content["judge_layer"]
        maps = maps_in_shards(self.run, index)
        key = key_of({**content, "layer": index, "maps": maps.tolist()})
        path = self.run.folder(index) / CLUSTERS
        existing = finished(path, key, ClustersFile)
        if existing is not None:
            return existing
        is_own = whose == "own"
        can_be_inactive = not layer.objectives and self.network.layer_at(index).can_be_inactive
        counted = clusters_of_units(
            self.responses(layer, [])[:, maps],
            self._own_features if is_own else self._directions,
            can_be_inactive,
            progress=self.progress,
            label=layer.name,
        )
        result = ImageClusters(
            layer=layer.name,
            index=index,
            noun=layer.noun,
            maps=maps,
            judge=OWN if is_own else self.judge.name,
            judge_layer="" if is_own else self.judge.layer,
            samples=len(self.images),
            split=self.source,
            **counted._asdict(),
        )
        record = msgspec.structs.replace(result.to_file(key), images_sha256=content["images"])
        self.run.keep(index, CLUSTERS, record)
        return record

    @cached_property
    def _own_features(self) -> np.ndarray:
        return own_features(self.network, self.images, self.progress)

    @property
    def _directions(self) -> np.ndarray:
        """(n, d): of the features that the judge has of the images."""
        return self._features[0]

    @property
    def _mean(self) -> np.ndarray:
        """(d,): of the same features."""
        return self._features[1]

    @cached_property
    def _features(self) -> tuple[np.ndarray, np.ndarray]:
        pictures = self.scale.pictures(self.images)
        label = f"images seen by {self.judge.name}"
        features = self.judge.features(pictures, self.progress, label)
        mean = features.mean(0)
        return feature_directions(features, mean), mean

    def responses(
        self, layer: LayerRecord, open_layers: Iterable[int], byte_budget: int = 512 << 20
    ) -> np.ndarray:
        """Return the responses (n, maps) of a layer.

        Args:
            layer: of the run.
            open_layers: indices of layers that are needed next; as many as the budget allows are
                computed in the same pass over the images, and kept.
            byte_budget: of the responses that are kept.
        """
        index = layer.index
        if layer.objectives:
            return objective_responses(self.network, self.images, layer.objectives, self.progress)
        if index not in self._responses:
            room = byte_budget // (4 * len(self.images)) - layer.maps
            group = [index]
            for layer_index in open_layers:
                following = self.run.layer(layer_index)
                if layer_index > index and not following.objectives and following.maps <= room:
                    group.append(layer_index)
                    room -= following.maps
            infos = [self.network.layer_at(layer_index) for layer_index in group]
            label = f"responses of {len(infos)} layer" + "s" * (len(infos) > 1)
            values = means_of_layers(self.network, self.images, infos, self.progress, label)
            self._responses = dict(zip(group, values, strict=True))
        return self._responses[index]


def objective_responses(
    network: Network, images: np.ndarray, objectives: Sequence[str], progress: Progress = automatic
) -> np.ndarray:
    """Return the values (n, objectives) of some objectives for images (n, h, w, bands).

    Raises:
        ModelError, SettingsError, DataError: objectives that are not of this network.
    """
    targets = objective_targets(network, list(objectives))
    graph = compiled_for_images(network, lambda batch: targets.all_activations(batch).post)
    values = np.empty((len(images), len(objectives)), np.float32)
    label = "responses of objectives"
    progress(label, 0, len(images))
    for rows, responses in run_in_batches(graph, images, targets.bytes_per_image):
        values[rows] = responses
        progress(label, rows.stop, len(images))
    return values
