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

    items: Ints  # [batch, 50 or less]
    kinds: Ints  # [batch, 50 or less]
    gaps: Ints  # [batch, 50 or less]
    length: Ints  # [batch]
    facts: Floats  # [batch, FACTS]


def pack(lengths: Ints, items: Ints, kinds: Ints, times: Ints, facts: Floats) -> Histories:
    """Histories as wide as the longest of them; the last 50 interactions of each count.

    Args:
        lengths: how many interactions each shopper has.
        items, kinds, times: item row, kind row and ms of each interaction, oldest first, one shopper behind the other.
        facts: [shoppers, FACTS].
    """
    ends, kept = np.cumsum(lengths), np.minimum(lengths, MAX_INTERACTIONS)
    place = np.arange(int(kept.max(initial=0)))
    real = place < kept[:, None]
    at = np.where(real, (ends - kept)[:, None] + place, len(times))
    # Behind them stands what padding is made of.
    items, kinds, times = (np.append(column, 0) for column in (items, kinds, times))
    ages = np.where(real, times[np.where(kept > 0, ends - 1, 0)][:, None] - times[at], 0)
    return Histories(items[at], kinds[at], np.searchsorted(_GAPS_MS, ages, side="right"), kept, facts)


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
        normed = self.before(x)
        if last is None:
            kept, heard = x, self._heard_by_all(normed)
        else:
            rows = torch.arange(len(x))
            kept, heard = x[rows, last][:, None], self._heard_by_one(normed, normed[rows, last], last)
        kept = kept + self.drop(self.out(heard))
        out: Tensor = kept + self.drop(self.narrow(functional.gelu(self.wide(self.between(kept)))))
        return out

    def _heard_by_all(self, normed: Tensor) -> Tensor:
        batch, length, width = normed.shape
        query = self.query(normed).view(batch, length, HEADS, width // HEADS).transpose(1, 2)
        key, value = self.key_value(normed).view(batch, length, 2, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        heard = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return heard.transpose(1, 2).reshape(normed.shape)

    def _heard_by_one(self, normed: Tensor, asking: Tensor, last: Tensor) -> Tensor:
        """[batch, 1, width]. One position asks, so the key matrix is brought to its query and the value matrix to what
        it hears, not both to all positions; a bias of keys is the same for all of them, and says nothing.
        """
        batch, length, width = normed.shape
        each = width // HEADS
        keys, values = self.key_value.weight.view(2, HEADS, each, width)
        query = self.query(asking).view(batch, HEADS, each).transpose(0, 1) @ keys
        match = query.transpose(0, 1) @ normed.transpose(1, 2) / each**0.5
        match = match.masked_fill((torch.arange(length) > last[:, None])[:, None], -torch.inf)
        heard = torch.softmax(match, 2) @ normed
        told = heard.transpose(0, 1) @ values.transpose(1, 2)
        out: Tensor = told.transpose(0, 1).reshape(batch, width) + self.key_value.bias[width:]
        return out[:, None]


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
        """Args: vectors [batch, length, width (+1)] of the items. Returns: [batch, width + 1]."""
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
        # The bias of `copy_key` is the same for all items, and says nothing.
        asked = self.copy_query(read) @ self.copy_key.weight
        match = (entered @ asked[..., None])[..., 0] / self.width**0.5
        match = match.masked_fill(torch.arange(length + 1)[None] >= count[:, None], -1e9)
        share = torch.softmax(match, 1)[:, :length] * (count > 0)[:, None]
        copied = functional.softplus(self.copy_gate(read)) * (share[..., None] * vectors).sum(1)
        return torch.cat([self.head(read) + copied, self.popular(read)], 1)
