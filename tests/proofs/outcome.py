"""What came of a proof."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What came of it, and what was wrong with it."""

    said: dict[str, object] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def expect(self, sound: bool, otherwise: str) -> None:
        """Note what is wrong unless it is sound."""
        if not sound:
            self.wrong.append(otherwise)

    def line(self, name: str) -> str:
        """All of it on one line."""
        words = " ".join(f"{key}={value}" for key, value in self.said.items())
        return f"{name}: {words} {'FAILED: ' + '; '.join(self.wrong) if self.wrong else 'ok'}"
