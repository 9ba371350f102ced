"""`python -m oip` and the command `oip`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from oip.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
