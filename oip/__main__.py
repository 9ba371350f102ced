"""`python -m oip` and the command `oip`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from oip.cli.main import main as command
    from oip.core.frameworks import hide_optional_packages

    hide_optional_packages()
    command()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.append(sys.path.pop(0))  # modules of the working directory hide no others
    main()
