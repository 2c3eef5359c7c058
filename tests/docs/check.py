"""The documents against the code: links, commands, settings, notices. Run by `make check`.

Prints each fault with its file and ends with status 1 when there is one.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import typer.main

from infra.settings import Settings
from infra.topics import TOPICS
from streams.cli import app

ROOT = Path(__file__).parents[2]


def documents() -> list[Path]:
    """Every Markdown file that is kept."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


def broken_links(document: Path) -> Iterator[str]:
    """Relative links whose target is not there."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if "://" not in target and not (document.parent / target).exists():
            yield f"link to {target}, which does not exist"


def unknown_make_targets(document: Path) -> Iterator[str]:
    """`make x` where the Makefile has no x."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for name in re.findall(r"(?:^|`|\$ )make ([a-z-]+)", document.read_text(), re.M):
        if name not in targets:
            yield f"`make {name}`, which the Makefile does not have"


def unknown_commands(document: Path) -> Iterator[str]:
    """`daogou x [y]` and its long options where the command line has none such."""
    root = typer.main.get_command(app)
    for line in re.findall(r"(?:^|`|\$ )daogou ([a-z-][^`\n#|]*)", document.read_text(), re.M):
        words = line.split()
        command = root
        while words and (found := getattr(command, "commands", {}).get(words[0])) is not None:
            command, words = found, words[1:]
        if command is root and words[0] != "--help":
            yield f"`daogou {line.strip()}`: no such command"
            continue
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for option in re.findall(r"--[a-z-]+", " ".join(words)):
            if option not in options | {"--help"}:
                yield f"`daogou {line.strip()}`: no option {option}"


def undocumented_settings() -> Iterator[str]:
    """Settings that docs/settings.md does not name, and names there that are no settings."""
    text = (ROOT / "docs/settings.md").read_text()
    named = set(re.findall(r"`DAOGOU_([A-Z_]+)`", text))
    real = {name.upper() for name in Settings.model_fields}
    yield from (f"DAOGOU_{name} is not described" for name in sorted(real - named))
    yield from (f"DAOGOU_{name} is no setting" for name in sorted(named - real))


def unnoticed_packages() -> Iterator[str]:
    """Dependencies that NOTICE does not name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(d for extra in project["project"]["optional-dependencies"].values() for d in extra),
        *(d for group in project["dependency-groups"].values() for d in group),
    ]
    notice = (ROOT / "NOTICE").read_text()
    for name in sorted({re.split(r"[\[<>=!~ ;]", dependency)[0] for dependency in wanted}):
        if not re.search(rf"\b{re.escape(name)}\b", notice):
            yield f"{name} is not named"


def undescribed_topics() -> Iterator[str]:
    """Topics that docs/architecture.md does not name."""
    text = (ROOT / "docs/architecture.md").read_text()
    return (f"topic {topic.name} is not named" for topic in TOPICS if topic.name not in text)


def changelog_without_version() -> Iterator[str]:
    """The project's version must be the changelog's newest."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## ([^\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    if newest is None or newest.group(1) != version:
        yield f"its newest heading is not version {version}"


def faults() -> Iterator[str]:
    """Every fault as one line."""
    for document in documents():
        for check in (broken_links, unknown_make_targets, unknown_commands):
            yield from (f"{document.relative_to(ROOT)}: {fault}" for fault in check(document))
    yield from (f"docs/settings.md: {fault}" for fault in undocumented_settings())
    yield from (f"docs/architecture.md: {fault}" for fault in undescribed_topics())
    yield from (f"NOTICE: {fault}" for fault in unnoticed_packages())
    yield from (f"CHANGELOG.md: {fault}" for fault in changelog_without_version())


def main() -> int:
    """Prints the faults; 1 when there are any."""
    found = list(faults())
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
