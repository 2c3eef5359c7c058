"""Artifacts as a person reads them: one described, two side by side."""

from rich.table import Table

from models.artifact import Manifest
from models.gate import FLOOR, MODEL, Compared, Figures


def described(manifest: Manifest) -> Table:
    """What an artifact was made from, and how it did."""
    shown = _table(f"artifact {manifest.version}, its files whole", ("", ""))
    lines = {
        "made": f"{manifest.made_at:%Y-%m-%d %H:%M} by version {manifest.code}, seed {manifest.seed}",
        "fitted on orders before": f"{manifest.fitted_before:%Y-%m-%d}",
        "tested until": f"{manifest.tested_until:%Y-%m-%d}",
        "orders read": f"{manifest.events:,}",
        "text encoder": manifest.text_encoder,
        "shape": ", ".join(f"{name} {size:,}" for name, size in manifest.shape.items()),
    }
    for metric, figure in manifest.metrics.get(MODEL, {}).items():
        floor = manifest.metrics.get(FLOOR, {}).get(metric)
        lines[metric] = f"{figure:.4f}" + ("" if floor is None else f" ({FLOOR} {floor:.4f})")
    for task, weights in manifest.weights.items():
        lines[f"weights, {task}"] = str(weights).partition("(")[2].rstrip(")")
    for name, text in lines.items():
        shown.add_row(name, text)
    return shown


def beside(version: str, compared: Compared) -> Table:
    """A candidate beside decayed popularity and another artifact, all on the same weeks."""
    rival = compared.in_service or ""
    saw = f"; {rival} was fitted on some of them" if compared.in_service_saw else ""
    title = f"{version} from {compared.begin:%Y-%m-%d} to {compared.end:%Y-%m-%d}{saw}"
    if compared.untested is not None:
        title += f"; {rival} could not be tested: {compared.untested}"
    shown = _table(title, ("", "", "beside", "", "lead, 95 %"))
    for name, one in (*compared.figures.items(), *compared.groups.items()):
        for other, figure, lead in _rivals(rival, one):
            shown.add_row(name, f"{one.candidate:.4f}", other, f"{figure:.4f}", _lead(lead))
    return shown


def _rivals(in_service: str, one: Figures) -> list[tuple[str, float, tuple[float, float]]]:
    found = [(FLOOR, one.floor, one.over_floor)]
    if one.in_service is not None and one.over_in_service is not None:
        found.append((in_service, one.in_service, one.over_in_service))
    return found


def _lead(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}"


def _table(title: str, headings: tuple[str, ...]) -> Table:
    shown = Table(title=title, title_justify="left", title_style="", show_header=any(headings))
    for heading in headings:
        shown.add_column(heading)
    return shown
