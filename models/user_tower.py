"""The user tower: a causal transformer over the last interactions, in plain torch, so that the worker serves with it
without TorchRec.

Each interaction is its item's vector + the event's kind + how long before the newest one it happened (log-spaced
bins) + how many came after it. A last position reads them all; its output is joined by an attention over the items
themselves (a copy head), which lets a shopper's own items come back. Pre-norm blocks as in "On Layer Normalization in
the Transformer Architecture" (Xiong et al., 2020); the sequence model follows SASRec (Kang and McAuley, 2018).
"""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.shoppers import INTERACTION_KINDS, MAX_INTERACTIONS
from infra.clock import DAY_MS
from models.interactions import Floats, Ints

HEADS: Final = 2
LAYERS: Final = 2
FACTS: Final = 3  # log orders, log views, mean log price
KINDS: Final = {kind: row for row, kind in enumerate(sorted(INTERACTION_KINDS))}
_GAPS_MS: Final = np.array(
    [0, 60_000, 600_000, 3_600_000, 21_600_000]
    + [days * DAY_MS for days in (1, 2, 4, 7, 10, 14, 21, 28, 42, 60, 90, 150, 250)],
    dtype=np.int64,
)


class Histories(NamedTuple):
    """A batch of shoppers: `items` rows of the item tower (0 where padded), `length` how many are real."""

    items: Ints  # [batch, 50]
    kinds: Ints  # [batch, 50]
    gaps: Ints  # [batch, 50]
    length: Ints  # [batch]
    facts: Floats  # [batch, FACTS]


def pack(rows: list[list[tuple[int, int, int]]], facts: Floats) -> Histories:
    """Histories from (item row, kind row, time in ms), oldest first; the last 50 of each count."""
    shape = (len(rows), MAX_INTERACTIONS)
    items, kinds, ages = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    length = np.zeros(len(rows), dtype=np.int64)
    for at, row in enumerate(rows):
        kept = row[-MAX_INTERACTIONS:]
        length[at] = len(kept)
        if kept:
            columns = np.array(kept, dtype=np.int64).T
            items[at, : len(kept)], kinds[at, : len(kept)] = columns[0], columns[1]
            ages[at, : len(kept)] = columns[2][-1] - columns[2]
    return Histories(items, kinds, np.digitize(ages, _GAPS_MS), length, facts)


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, last: Tensor | None) -> Tensor:
        """[batch, length, width] → the same, or [batch, 1, width] at `last` alone."""
        batch, length, width = x.shape
        rows = torch.arange(batch)
        normed = self.before(x)
        asking = normed if last is None else normed[rows, last][:, None]
        kept = x if last is None else x[rows, last][:, None]
        query = self.query(asking).view(batch, asking.shape[1], HEADS, width // HEADS).transpose(1, 2)
        key, value = self.key_value(normed).view(batch, length, 2, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        if last is None:
            heard = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            seen = (torch.arange(length)[None] <= last[:, None])[:, None, None]
            heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        kept = kept + self.drop(self.out(heard.transpose(1, 2).reshape(asking.shape)))
        out: Tensor = kept + self.drop(self.narrow(functional.gelu(self.wide(self.between(kept)))))
        return out


class UserTower(nn.Module):
    """Shoppers to vectors of width + 1: the last number weighs the item vectors' log popularity."""

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.width = width
        self.gap = nn.Embedding(len(_GAPS_MS) + 1, width)
        self.kind = nn.Embedding(len(KINDS), width)
        self.place = nn.Embedding(MAX_INTERACTIONS + 1, width)
        self.facts = nn.Linear(FACTS, width)
        self.reader = nn.Parameter(torch.zeros(width))
        self.enter = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(LAYERS))
        self.leave = nn.LayerNorm(width)
        self.head = nn.Linear(width, width)
        self.popular = nn.Linear(width, 1)
        self.copy_query = nn.Linear(width, width)
        self.copy_key = nn.Linear(width, width)
        self.copy_gate = nn.Linear(width, 1)
        for table in (self.gap, self.place):
            nn.init.normal_(table.weight, std=0.02)
        # A kind or fact that training has not seen changes nothing.
        nn.init.zeros_(self.kind.weight)
        nn.init.zeros_(self.facts.weight)
        nn.init.zeros_(self.popular.weight)
        nn.init.ones_(self.popular.bias)

    def forward(self, vectors: Tensor, shoppers: Histories) -> Tensor:
        """Args: vectors [batch, 50, width (+1)] of the items. Returns: [batch, width + 1]."""
        vectors = vectors[..., : self.width]
        batch, length, _ = vectors.shape
        count = torch.from_numpy(shoppers.length)
        rows = torch.arange(batch)
        after = (count[:, None] - 1 - torch.arange(length)).clamp(0, MAX_INTERACTIONS)
        x = self.enter(vectors) + self.gap(torch.from_numpy(shoppers.gaps)) + self.place(after)
        x = x + self.kind(torch.from_numpy(shoppers.kinds))
        x = torch.cat([x, torch.zeros(batch, 1, self.width)], 1)
        x[rows, count] = self.reader + self.facts(torch.from_numpy(shoppers.facts))
        entered = x
        for number, block in enumerate(self.blocks):
            x = block(x, count if number == LAYERS - 1 else None)
        read = self.leave(x[:, 0])
        match = (self.copy_key(entered) * self.copy_query(read)[:, None]).sum(-1) / self.width**0.5
        match = match.masked_fill(torch.arange(length + 1)[None] >= count[:, None], -1e9)
        share = torch.softmax(match, 1)[:, :length] * (count > 0)[:, None]
        copied = functional.softplus(self.copy_gate(read)) * (share[..., None] * vectors).sum(1)
        return torch.cat([self.head(read) + copied, self.popular(read)], 1)
