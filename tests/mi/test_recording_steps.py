import numpy as np
import pytest

from oip.core.errors import SettingsError
from oip.mi.training.recorder import Schedule


def recorded(every, steps=1200):
    schedule = Schedule.of(every)
    return [now for now in range(1, steps + 1) if schedule.between(now - 1, now)]


def test_what_people_say():
    assert Schedule.of(2) == Schedule.of("2") == Schedule.of(" 2 epochs ") == Schedule(epochs=2)
    assert [epoch for epoch in range(1, 8) if Schedule.of(3).after_epoch(epoch)] == [3, 6]
    assert not Schedule.of("10 batches").after_epoch(10)
    assert recorded("500 batches") == [500, 1000]
    assert recorded("log") == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert recorded([7, 3, 3, 900]) == recorded(np.array([3, 7, 900])) == [3, 7, 900]


@pytest.mark.parametrize("every", ["7 batches", "log", [3, 20, 21]])
def test_a_step_that_was_jumped_over_is_recorded_at_the_next_look(every):
    schedule = Schedule.of(every)
    looks = [now for now in range(5, 105, 5) if schedule.between(now - 5, now)]
    due = recorded(every, 100)
    assert looks == sorted({-(-step // 5) * 5 for step in due})


@pytest.mark.parametrize(
    "every", [0, -1, True, 1.5, "", "0", "often", "3 hours", [], [1.5], [-1], None]
)
def test_anything_else_is_refused(every):
    with pytest.raises(SettingsError, match="batches"):
        Schedule.of(every)
