import math

import numpy as np
import pytest

from oip.core.checks import check_choice, check_drawn, check_flag, check_number, check_whole
from oip.core.errors import SettingsError


def test_what_is_allowed():
    check_number("one: a", 1e-9)
    check_number("one: a", 3)
    check_number("one: a", -5.0, above=-math.inf)
    check_number("one: a", 1.0, most=1.0)
    check_whole("one: b", 1)
    check_whole("one: b", 0, least=0)
    check_choice("one: c", "up", ("up", "down"))
    check_flag("one: d", False)
    check_number("one: a", np.float32(0.5))
    check_number("one: a", np.int64(5))
    check_number("one: a", 0.0, above=-math.inf)
    assert [type(check_whole("one: b", value)) for value in (np.int64(5), np.uint8(1))] == [int] * 2
    assert check_drawn("one: e", np.int64(9), 10) == 9


@pytest.mark.parametrize(
    ("check", "arguments", "message"),
    [
        (check_number, (0,), "a number above 0; received 0"),
        (check_number, (math.inf,), "received inf"),
        (check_number, (math.nan,), "received nan"),
        (check_number, (None,), "received None"),
        (check_number, (True,), "received True"),
        (check_number, ("3",), "received '3'"),
        (check_number, (2.0, 0.0, 1.0), "above 0 and 1 or less"),
        (check_whole, (0,), "a whole number, 1 or more; received 0"),
        (check_whole, (2.0,), "received 2.0"),
        (check_whole, (True,), "received True"),
        (check_number, (np.bool_(True),), "received True"),
        (check_number, (1e101,), r"from 1e-100 to 1e\+100; received 1e\+101"),
        (check_number, (-1e-101, -math.inf), r"from 1e-100"),
        (check_number, (np.array([1.0, 2.0]),), "a number above 0"),
        (check_whole, (np.array([1, 2]),), "a whole number"),
        (check_whole, (np.bool_(True),), "a whole number"),
        (check_drawn, (10**9, 1000), "at most 134217 for 1000 samples; received 1000000000"),
        (check_choice, (["up"], ("up", "down")), "up or down"),
        (check_choice, (np.array(["up", "down"]), ("up", "down")), "up or down"),
        (check_choice, ("left", ("up", "down")), "up or down; received 'left'"),
        (check_flag, (1,), "True or False; received 1"),
    ],
)
def test_what_is_refused(check, arguments, message):
    with pytest.raises(SettingsError, match=f"^one: a: expected .*{message}"):
        check("one: a", *arguments)
