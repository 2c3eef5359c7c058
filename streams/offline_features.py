"""Making the offline features anew, with progress: for its own command, for training and for the demo."""

from features.history import Counts
from features.offline_build import build
from infra.clock import HOUR_MS
from infra.settings import Settings
from streams.progress import Phases


def build_features(settings: Settings, phases: Phases) -> Counts:
    """Fold the tenant's archive into a new build of the offline log; what became of the events."""
    with phases.phase("features", 0, "records") as advance:
        return build(settings.archive_at, settings.offline_dir, settings.lateness_h * HOUR_MS, advance)
