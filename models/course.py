"""How far a fit is: everything that its next step depends on, to be kept and to be gone on from."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from models.batches import Batches
from models.checkpoint import State
from models.ranks import Ranks

if TYPE_CHECKING:
    from models.fitting import Options


class Course:
    """Towers, optimizer, learning rate, what is drawn, the order of the data, and the loss of each step done."""

    def __init__(
        self, towers: tuple[nn.Module, nn.Module], batches: Batches, rng: np.random.Generator, ranks: Ranks
    ) -> None:
        """Before the first step; `begun` is to follow."""
        self.items, self.users = towers
        self.parameters = [*self.items.parameters(), *self.users.parameters()]
        self.losses: list[float] = []
        self._batches, self._rng, self._ranks = batches, rng, ranks

    def begun(self, options: "Options", steps: int, state: State | None) -> None:
        """Make the optimizer, and go on from a state whose towers are loaded already."""
        rate = options.learning_rate
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=options.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rate, total_steps=steps + 1, pct_start=0.1)
        if state is None:
            return
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self._batches.go_on(json.loads(state["pass"]), state["given"])
        self._rng.bit_generator.state = json.loads(state["numpy"])
        _draw_as(state["torch"][self._ranks.rank])
        self.losses = list(state["losses"])

    def stepped(self) -> None:
        """Move the parameters down their gradients, one step."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()

    def state(self, about: dict[str, str]) -> State:
        """Whole on rank 0."""
        began, given = self._batches.place
        return {
            "about": about,
            "items": self.items.state_dict(),
            "users": self.users.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "pass": json.dumps(began),
            "given": given,
            "numpy": json.dumps(self._rng.bit_generator.state),
            "torch": self._ranks.gathered(_draws(self._ranks.device)),
            "losses": list(self.losses),
        }


def _draws(device: torch.device) -> list[Any]:
    """Where the generators of torch are."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def _draw_as(states: list[Any]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1])
