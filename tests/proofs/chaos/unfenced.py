"""`daogou`, but its commits do not compare the fence: what a worker without one would do.

    python -m tests.proofs.chaos.unfenced worker

Only the proof runs it, to show that it would notice. The scripts in Redis are the product's own but for one line; what
is read before a batch is not compared either.
"""

from streams import lua

_COMPARED = "if fence ~= ARGV[2] then"


def without_fence() -> lua.Script:
    """COMMIT as it is, but for the comparison of the fence; epoch and namespace are still compared."""
    if lua.COMMIT.source.count(_COMPARED) != 1:
        raise SystemExit("COMMIT compares its fence in another way now: correct tests/proofs/chaos/unfenced.py")
    return lua.Script(lua.COMMIT.source.replace(_COMPARED, "if false then"))


def main() -> None:
    """Run the command line with the changed script; whatever imports it comes later."""
    lua.COMMIT = without_fence()
    from streams.cli import main as run
    from streams.commit import PartitionStore

    # Whatever Redis holds is taken for what was left there.
    PartitionStore.compare = lambda *_: None  # type: ignore[method-assign]
    run()


if __name__ == "__main__":
    main()
