"""Where `daogou` begins. Until the command line is imported, Ctrl-C ends the process without a traceback."""

import signal


def main() -> None:
    """Run the command line."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where whoever started us has switched it off
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from streams.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()
