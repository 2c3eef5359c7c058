"""What a figure was measured on: machine, commit, and which cores are for whom."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cores:
    """The cores of this process, divided: one for what is measured, the others for all that makes it work."""

    measured: frozenset[int]
    others: frozenset[int]

    @property
    def apart(self) -> bool:
        """Whether they share none."""
        return not self.measured & self.others


def cores() -> Cores:
    """The last core is for what is measured: the first ones serve the machine's interrupts."""
    mine = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(mine[-1:]), frozenset(mine[:-1] or mine))


@contextlib.contextmanager
def on_cores(wanted: frozenset[int]) -> Iterator[None]:
    """Run on these cores only; what is started meanwhile stays on them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def described() -> str:
    """CPU, cores, memory and Python in one line."""
    model = next((one for one in _values("/proc/cpuinfo", "model name")), platform.machine())
    memory_kb = int(next(_values("/proc/meminfo", "MemTotal")).split()[0])
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory_kb / 2**20:.0f} GiB, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.2f} at the start"
    )


def commit(checkout: Path = ROOT) -> str:
    """The commit of a checkout, and whether something was changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "no commit") + changed


def cpu_s(pid: int) -> float:
    """CPU time that a process has used so far, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _values(file: str, name: str) -> Iterator[str]:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            yield value.strip()
