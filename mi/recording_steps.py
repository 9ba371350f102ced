"""When a training is recorded."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

from oip.core.errors import SettingsError, expected

_WANTED = "a number of epochs, 'N batches', 'log', or numbers of batches"
_SERIES = (1, 2, 5)


@dataclass(frozen=True)
class Schedule:
    """Steps of a training that are recorded; the start and the end are recorded in any case.

    One of the four is set. A step is a batch that was learned from.
    """

    epochs: int = 0
    """Every so many epochs."""
    batches: int = 0
    """Every so many batches."""
    log: bool = False
    """At 1, 2, 5, 10, 20, 50, ... batches."""
    at: tuple[int, ...] = ()
    """At these numbers of batches, rising."""

    @classmethod
    def of(cls, every: int | str | Iterable[int]) -> Schedule:
        """A schedule as people say it.

        Args:
            every: `1` or `"1"`: every epoch; `"200 batches"`; `"log"`: spaced evenly on a
                logarithmic axis; numbers of batches, such as `[0, 10, 1000]`.

        Raises:
            SettingsError: anything else.

        Example:
            >>> Schedule.of("200 batches").batches
            200
        """
        if isinstance(every, str):
            text = every.strip().lower()
            if text == "log":
                return cls(log=True)
            told = re.fullmatch(r"(\d+)(?:\s*(epochs?|batch|batches))?", text)
            if told is not None and int(told[1]) > 0:
                number = int(told[1])
                unit = told[2] or "epochs"
                return cls(epochs=number) if unit.startswith("epoch") else cls(batches=number)
        elif isinstance(every, int) and not isinstance(every, bool):
            if every > 0:
                return cls(epochs=every)
        elif isinstance(every, Iterable):
            steps = list(every)
            if steps and all(_is_whole(step) for step in steps):
                return cls(at=tuple(sorted({int(step) for step in steps})))
        raise SettingsError(expected("every", _WANTED, f"'{every}'"))

    def after_epoch(self, epoch: int) -> bool:
        """Whether to record when so many epochs are done, 1 and more."""
        return bool(self.epochs) and epoch % self.epochs == 0

    def between(self, before: int, now: int) -> bool:
        """Whether to record now, `now` batches being done, where the last look was at `before`."""
        if self.batches:
            return now // self.batches > before // self.batches
        if self.log:
            return _last_of_series(now) > before
        place = bisect_right(self.at, now)
        return place > 0 and self.at[place - 1] > before


def _last_of_series(step: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, ... that is not above `step`; 0 before the first."""
    if step < 1:
        return 0
    decade = 10 ** (len(str(step)) - 1)
    return max(number * decade for number in _SERIES if number * decade <= step)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
