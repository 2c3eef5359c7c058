"""The user tower: a causal transformer over the last interactions, in plain torch, so that the worker serves with it
without TorchRec.

Each interaction is its item's vector + the event's kind + how long after the one before it happened (log-spaced bins).
A position hears those up to itself; how loud each is depends on how many lie between and, in the last block, on how
long ago it was. So what is said at one position holds nothing of later ones, and a whole history teaches every step of
it at once. The output is joined by an attention over the items themselves (a copy head), which lets a shopper's own
items come back. Pre-norm blocks as in "On Layer Normalization in the Transformer Architecture" (Xiong et al., 2020);
the sequence model follows SASRec (Kang and McAuley, 2018), the biases T5 (Raffel et al., 2020).
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
_GAPS: Final = len(_GAPS_MS) + 1  # 0 is less than nothing: of what stands first
_PLACES: Final = torch.arange(MAX_INTERACTIONS + 1)
_APART: Final = (_PLACES[:, None] - _PLACES).clamp(0)
"""How far back each position is from each, 0 for later ones."""
_LATER: Final = torch.full(_APART.shape, -1e9).triu(1)
"""What hides later positions when it is added."""


class Histories(NamedTuple):
    """A batch of shoppers: `items` rows of the item tower (0 where padded), `length` how many are real."""

    items: Ints  # [batch, 50 or less]
    kinds: Ints  # [batch, 50 or less]
    ages: Ints  # [batch, 50 or less], ms before the newest
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
    return Histories(items[at], kinds[at], ages, kept, facts)


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
        self.far = nn.Parameter(torch.zeros(HEADS, MAX_INTERACTIONS + 1))

    def forward(self, x: Tensor, asking: Tensor, heard: Tensor) -> Tensor:
        """Args: x, asking [batch, length, width]; heard [batch or 1, HEADS, length, length], added to what matches."""
        batch, length, width = x.shape
        normed = self.before(x)
        query = self.query(normed if asking is x else self.before(asking))
        query = query.view(batch, length, HEADS, width // HEADS).transpose(1, 2)
        key_value = self.key_value(normed).view(batch, length, 2, HEADS, width // HEADS)
        key, value = key_value.permute(2, 0, 3, 1, 4)
        bias = (self.far[:, _APART[:length, :length]] + heard).expand(batch, -1, -1, -1)
        told = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self._through(asking, told.transpose(1, 2).reshape(x.shape))

    def last(self, x: Tensor, asking: Tensor, at: Tensor, heard: Tensor) -> Tensor:
        """As `forward`, for one position of each: `asking` [batch, width], `heard` [batch, HEADS, length].

        One position asks, so the key matrix is brought to its query and the value matrix to what it hears, not both to
        all positions; a bias of keys is the same for all of them, and says nothing.
        """
        batch, length, width = x.shape
        each = width // HEADS
        normed = self.before(x)
        keys, values = self.key_value.weight.view(2, HEADS, each, width)
        query = self.query(self.before(asking)).view(batch, HEADS, each).transpose(0, 1) @ keys
        match = query.transpose(0, 1) @ normed.transpose(1, 2) / each**0.5
        match = (
            match + self.far[:, _APART[at, :length]].transpose(0, 1) + heard + _LATER[at, None, :length].to(x.device)
        )
        told = torch.softmax(match, 2) @ normed
        told = (told.transpose(0, 1) @ values.transpose(1, 2)).transpose(0, 1)
        return self._through(asking, told.reshape(batch, width) + self.key_value.bias[width:])

    def _through(self, asking: Tensor, told: Tensor) -> Tensor:
        kept = asking + self.drop(self.out(told))
        out: Tensor = kept + self.drop(self.narrow(functional.gelu(self.wide(self.between(kept)))))
        return out


class UserTower(nn.Module):
    """Shoppers to vectors of width + 1: the last number weighs the item vectors' log popularity."""

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.width = width
        self.gap = nn.Embedding(_GAPS, width)
        self.kind = nn.Embedding(len(KINDS), width)
        self.facts = nn.Linear(FACTS, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.enter = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(LAYERS))
        self.ago = nn.Parameter(torch.zeros(_GAPS, HEADS))
        self.leave = nn.LayerNorm(width)
        self.head = nn.Linear(width, width)
        self.popular = nn.Linear(width, 1)
        self.copy_query = nn.Linear(width, width)
        self.copy_key = nn.Linear(width, width)
        self.copy_gate = nn.Linear(width, 1)
        self.copy_far = nn.Parameter(torch.zeros(MAX_INTERACTIONS + 1))
        self.copy_ago = nn.Parameter(torch.zeros(_GAPS))
        nn.init.normal_(self.gap.weight, std=0.02)
        # A kind or fact that training has not seen changes nothing.
        nn.init.zeros_(self.kind.weight)
        nn.init.zeros_(self.facts.weight)
        nn.init.zeros_(self.popular.weight)
        nn.init.ones_(self.popular.bias)

    def forward(self, vectors: Tensor, shoppers: Histories) -> Tensor:
        """What each shopper asks for after all that they did.

        Args: vectors [batch, length, width (+1)] of the items. Returns: [batch, width + 1].
        """
        vectors = vectors[..., : self.width]
        rows, count = torch.arange(len(vectors)), torch.from_numpy(shoppers.length)
        entered, x = self._entered(vectors, shoppers)
        x = self._before_last(x)
        bins = np.zeros((len(vectors), x.shape[1]), np.int64)
        bins[:, 1:] = _bins(shoppers.ages)
        ago = torch.from_numpy(bins)
        asking = x[rows, count] + self.facts(torch.from_numpy(shoppers.facts).to(x.device))
        read = self.leave(self.blocks[-1].last(x, asking, count, self.ago[ago].transpose(1, 2)))  # type: ignore[operator]
        # The bias of `copy_key` is the same for all items, and says nothing.
        asked = self.copy_query(read) @ self.copy_key.weight
        match = (entered @ asked[..., None])[..., 0] / self.width**0.5
        # Position p stands behind p items: item j is the (p - 1 - j)th before it.
        places = slice(1, x.shape[1])
        match = match + self.copy_far[_APART[count, places]] + self.copy_ago[ago[:, 1:]]
        match = match + _LATER[count, places].to(x.device)
        share = torch.softmax(match, 1) * (count > 0)[:, None].to(x.device)
        copied = functional.softplus(self.copy_gate(read)) * (share[..., None] * vectors).sum(1)
        return torch.cat([self.head(read) + copied, self.popular(read)], 1)

    def everywhere(self, vectors: Tensor, shoppers: Histories, facts: Tensor) -> Tensor:
        """What each shopper asked for after each number of interactions, none first: [batch, length + 1, width + 1].

        Args: vectors as `forward`; facts [batch, length + 1, FACTS] as they were then.
        """
        vectors = vectors[..., : self.width]
        entered, x = self._entered(vectors, shoppers)
        x = self._before_last(x)
        length = x.shape[1]
        bins = torch.from_numpy(_all_bins(shoppers.ages))
        later = _LATER[:length, :length].to(x.device)
        heard = self.ago[bins].permute(0, 3, 1, 2) + later
        read = self.leave(self.blocks[-1](x, x + self.facts(facts.to(x.device)), heard))
        asked = self.copy_query(read) @ self.copy_key.weight
        match = asked @ entered.transpose(1, 2) / self.width**0.5
        match = match + (self.copy_far[_APART[:length, 1:length]] + self.copy_ago[bins[:, :, 1:]]) + later[:, 1:]
        some = (torch.arange(length, device=x.device) > 0)[:, None]
        copied = functional.softplus(self.copy_gate(read)) * ((torch.softmax(match, 2) * some) @ vectors)
        return torch.cat([self.head(read) + copied, self.popular(read)], 2)

    def _entered(self, vectors: Tensor, shoppers: Histories) -> tuple[Tensor, Tensor]:
        """The interactions, and the same behind what stands before all of them."""
        since = np.full(shoppers.ages.shape, -1)
        since[:, 1:] = shoppers.ages[:, :-1] - shoppers.ages[:, 1:]
        entered = self.enter(vectors) + self.kind(torch.from_numpy(shoppers.kinds).to(vectors.device))
        entered = entered + self.gap(torch.from_numpy(_bins(since)).to(vectors.device))
        return entered, torch.cat([self.start.expand(len(vectors), 1, self.width), entered], 1)

    def _before_last(self, x: Tensor) -> Tensor:
        for block in self.blocks[:-1]:
            x = block(x, x, _LATER[: x.shape[1], : x.shape[1]].to(x.device))
        return x


def _bins(gaps_ms: Ints) -> Ints:
    return np.searchsorted(_GAPS_MS, gaps_ms, side="right")


def _all_bins(ages: Ints) -> Ints:
    """How long before each number of interactions each one was: [batch, length + 1, length + 1]; the first is none."""
    out = np.zeros((len(ages), ages.shape[1] + 1, ages.shape[1] + 1), np.int64)
    out[:, 1:, 1:] = _bins(ages[:, None, :] - ages[:, :, None])
    return out
