"""The workers of a Dask scheduler as an engine. They must see the models and the batch's folder
under the same paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oip.batch.engines import Engine, EngineLost, Pending, missing
from oip.batch.jobs import EngineSettings
from oip.core.errors import SettingsError, expected

_SECONDS_TO_ANSWER = 10


class _DaskEngine(Engine):
    """A Dask client. Work of a worker that dies is given to another one by the scheduler."""

    def __init__(self, client: Any, settings: EngineSettings):
        super().__init__(client)
        self._client = client
        self.together = settings.together or 1
        self.threads = settings.threads or min(self._client.nthreads().values(), default=None)

    @property
    def workers(self) -> int:
        return max(1, len(self._client.nthreads()))

    @property
    def width(self) -> int:
        return 2 * self.workers  # the next piece waits where the last one is done

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        self.check()
        return self._client.submit(function, *arguments, pure=False)

    def check(self) -> None:
        if self._client.status != "running":
            raise EngineLost("the Dask scheduler is gone; what was finished is kept.")

    def close(self) -> None:
        self._client.close()


def dask_engine(settings: EngineSettings) -> Engine:
    """Connects to the scheduler of a job."""
    try:
        from distributed import Client
    except ImportError as error:
        raise missing("distributed", "dask") from error
    try:
        client = Client(settings.scheduler, timeout=_SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        address = f"a scheduler at '{settings.scheduler}'"
        raise SettingsError(expected("engine dask", address, "no answer")) from error
    return _DaskEngine(client, settings)
