"""How far a fit is: everything that its next step depends on, to be kept and to be gone on from."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from models.batches import Batches
from models.checkpoint import State
from models.ranks import Part, Ranks

if TYPE_CHECKING:
    from models.fitting import Options


class Course:
    """Towers, optimizer, learning rate, what is drawn, the order of the data, and the loss of each step done."""

    def __init__(
        self,
        towers: tuple[nn.Module, nn.Module],
        batches: Batches,
        rng: np.random.Generator,
        ranks: Ranks,
        parts: Mapping[str, Part],
    ) -> None:
        """Before the first step; `begun` is to follow. `parts` are the item tower's parameters that are cut."""
        self.items, self.users = towers
        self.parameters = [*self.items.parameters(), *self.users.parameters()]
        names = [name for name, _ in self.items.named_parameters()]
        self._parts = {place: parts[name] for place, name in enumerate(names) if name in parts}
        self._cut = {name: parameter for name, parameter in self.items.named_parameters() if name in parts}
        self.losses: list[float] = []
        self._batches, self._rng, self._ranks = batches, rng, ranks

    def begun(self, options: "Options", steps: int, state: State | None) -> None:
        """Make the optimizer, and go on from a state whose towers are loaded already."""
        rate = options.learning_rate
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=options.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rate, total_steps=steps + 1, pct_start=0.1)
        if state is None:
            return
        self.optimizer.load_state_dict(self._own(state["optimizer"]))
        self.schedule.load_state_dict(state["schedule"])
        self._batches.go_on(json.loads(state["pass"]), state["given"])
        self._rng.bit_generator.state = json.loads(state["numpy"])
        _draw_as(state["torch"][self._ranks.rank])
        self.losses = list(state["losses"])

    def stepped(self) -> None:
        """Move the parameters down their gradients, one step."""
        nn.utils.clip_grads_with_norm_(self.parameters, 1.0, self._norm())
        self.optimizer.step()
        self.schedule.step()

    def state(self, about: dict[str, str]) -> State:
        """Whole on rank 0."""
        began, given = self._batches.place
        return {
            "about": about,
            "items": {name: self._whole(name, value) for name, value in self.items.state_dict().items()},
            "users": self.users.state_dict(),
            "optimizer": self._joined(self.optimizer.state_dict()),
            "schedule": self.schedule.state_dict(),
            "pass": json.dumps(began),
            "given": given,
            "numpy": json.dumps(self._rng.bit_generator.state),
            "torch": self._ranks.gathered(_draws(self._ranks.device)),
            "losses": list(self.losses),
        }

    def _norm(self) -> Tensor:
        """Of all gradients; of what is cut those of all ranks."""
        known = [(place in self._parts, one.grad) for place, one in enumerate(self.parameters) if one.grad is not None]
        norm = nn.utils.get_total_norm([gradient for cut, gradient in known if not cut])
        if not self._parts:
            return norm
        own = nn.utils.get_total_norm([gradient for cut, gradient in known if cut])
        return (norm.square() + self._ranks.summed(own.square())).sqrt()

    def _whole(self, name: str, value: Any) -> Any:
        return self._ranks.joined(self._cut[name]) if name in self._cut else value

    def _joined(self, optimizer: State) -> State:
        """The optimizer's state with whole tables, on rank 0."""
        return self._mapped(optimizer, lambda value, _: self._ranks.joined(value))

    def _own(self, optimizer: State) -> State:
        """Of whole tables' state that of the rows of this rank."""
        return self._mapped(optimizer, lambda value, part: value[part.begin : part.end].clone())

    def _mapped(self, optimizer: State, change: Callable[[Tensor, Part], Tensor]) -> State:
        state = dict(optimizer["state"])
        for place, part in self._parts.items():
            state[place] = {name: change(value, part) if value.dim() else value for name, value in state[place].items()}
        return {**optimizer, "state": state}


def _draws(device: torch.device) -> list[Any]:
    """Where the generators of torch are."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def _draw_as(states: list[Any]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1])
