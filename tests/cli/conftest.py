"""Commands as a user calls them."""

from __future__ import annotations

import pytest

from oip.cli.main import run


@pytest.fixture
def call(capfd):
    """Runs a command and gives its exit status, stdout and stderr."""

    def command(*arguments):
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return status, out, err

    return command
