"""How much memory a result may take before it is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oip.core.errors import SettingsError, expected

_BYTES = 1 << 30


def check_size(
    what: str,
    counts: Sequence[int],
    shape: Sequence[int],
    size: int,
    limit: int | None = None,
    hint: str = "Ask for fewer maps at a time.",
) -> None:
    """Refuses a result whose images would take more than 1 GiB, or another limit.

    Args:
        what: the result, for the message.
        counts: maps, and images of each.
        shape: of an image.
        size: bytes of a pixel.
        limit: in bytes; 1 GiB if None.
        hint: what to do instead.

    Raises:
        SettingsError: more than that.
    """
    limit = _BYTES if limit is None else limit
    wanted = size * int(np.prod(counts)) * int(np.prod(shape))
    if wanted > limit:
        most = f"at most {limit >> 20} MiB"
        raise SettingsError(expected(f"images of {what}", most, f"{wanted >> 20} MiB", hint))
