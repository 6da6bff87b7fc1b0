"""The command line, as `uv run` and `python -m` start it."""

import signal


def main() -> None:
    """Import the verbs and run one; Ctrl-C ends the import without a traceback."""
    if (handler := signal.getsignal(signal.SIGINT)) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as run  # noqa: PLC0415 - takes half a second

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
