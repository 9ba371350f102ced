"""Slurm through submitit, and the script for sites that want to submit by themselves."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oip.batch.engines import Engine, Pending, missing
from oip.batch.jobs import EngineSettings

JOBS = 16
"""At once, where nothing is said."""
_TOGETHER = 4


class _SlurmEngine(Engine):
    """Every piece of work is a job of the cluster."""

    def __init__(self, executor: Any, settings: EngineSettings):
        super().__init__(executor, settings.workers or JOBS)
        self.together = settings.together or _TOGETHER
        self.threads = settings.threads or 1
        self._jobs: list[Any] = []

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        job = self._seam.submit(function, *arguments)
        self._jobs = [one for one in self._jobs if not one.done()]
        self._jobs.append(job)
        return job

    def close(self) -> None:
        for job in self._jobs:
            if not job.done():
                job.cancel()


def slurm_engine(settings: EngineSettings, folder: str | os.PathLike[str]) -> Engine:
    """The cluster that a job asks for; its scripts and outputs are in `slurm` of the batch."""
    try:
        import submitit
    except ImportError as error:
        raise missing("submitit", "slurm") from error
    executor = submitit.AutoExecutor(folder=Path(folder) / "slurm", cluster=settings.cluster)
    executor.update_parameters(**_asked(settings))
    return _SlurmEngine(executor, settings)


def _asked(settings: EngineSettings) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "name": "oip",
        "timeout_min": settings.minutes,
        "mem_gb": settings.memory_gb,
        "cpus_per_task": settings.threads or 1,
    }
    if settings.gpus is not None:
        asked["gpus_per_node"] = len(settings.gpus)
    if settings.partition is not None and settings.cluster == "slurm":
        asked["slurm_partition"] = settings.partition
    return asked


def sbatch_script(job: Path, settings: EngineSettings, changes: tuple[str, ...]) -> str:
    """A script for `sbatch`: an array of jobs that each do a part of the batch in process.

    The parts share nothing but the batch's folder; one that is killed can be submitted again.

    Args:
        job: the job file.
        settings: of its engine.
        changes: what `--set` was given.
    """
    count = settings.workers or JOBS
    asked = {
        "job-name": f"oip-{job.stem}",
        "array": f"0-{count - 1}",
        "ntasks": 1,
        "cpus-per-task": settings.threads or 1,
        "mem": f"{settings.memory_gb}G",
        "time": settings.minutes,
        "output": "oip-%A-%a.log",
    }
    if settings.partition is not None:
        asked["partition"] = settings.partition
    if settings.gpus is not None:
        asked["gres"] = f"gpu:{len(settings.gpus)}"
    options = "".join(f"#SBATCH --{name}={value}\n" for name, value in asked.items())
    words = ["oip", "batch", str(job.resolve()), "--engine", "process"]
    for change in (*changes, f"engine.threads={settings.threads or 1}"):
        words += ["--set", change]
    command = " ".join(shlex.quote(word) for word in words)
    return (
        f"#!/bin/bash\n{options}\n"
        "# The same command goes on where it was stopped.\n"
        f'srun {command} --part "$SLURM_ARRAY_TASK_ID/{count}"\n'
    )
