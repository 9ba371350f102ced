"""Scripted reconstructions and rankings over many models, layers and settings.

>>> import oip
>>> result = oip.batch.run("job.toml")  # doctest: +SKIP
>>> result.failures  # doctest: +SKIP
[]

A batch is a folder: `batch.json` says which runs it has, `runs/0000` and so on are runs as
`oip reconstruct` makes them, one for each model and setting, and `log.jsonl` has a line for each
piece of work. What is done is decided from the files of the runs alone.

Names are imported when they are used; `import oip.batch` imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.frameworks import lazy_names

if TYPE_CHECKING:
    from oip.batch.calibration import Forecast, forecast
    from oip.batch.driver import BatchResult, Failure, run
    from oip.batch.executors import Engine
    from oip.batch.job import EngineSettings, Job, ModelSource, RankSettings, read_job
    from oip.batch.plan import BatchStatus, batch_status

__all__ = [
    "BatchResult",
    "BatchStatus",
    "Engine",
    "EngineSettings",
    "Failure",
    "Forecast",
    "Job",
    "ModelSource",
    "RankSettings",
    "batch_status",
    "forecast",
    "read_job",
    "run",
]

__getattr__, __dir__ = lazy_names(__name__)
