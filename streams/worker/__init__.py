"""The worker process: it joins the group, reads the logs, applies micro-batches, fires timers, archives."""

from streams.worker.process import run

__all__ = ["run"]
