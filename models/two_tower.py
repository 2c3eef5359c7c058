"""The item tower on TorchRec: id, category, brand and price tables in one EmbeddingBagCollection, and the item's text.

The one door to torchrec. An item without a history has no id part: what it is speaks alone.
"""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from infra.clock import DAY_MS
from models.interactions import Floats, Interactions, Ints
from models.item_features import PRICE_BINS, ItemFeatures
from models.popular_then import Then

with warnings.catch_warnings():  # of other packages, at their import
    warnings.simplefilter("ignore")
    from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor

_NAMES = ("id", "category", "brand", "price")
_START = 0.05


class ItemTower(nn.Module):
    """Items to vectors of width + 1, the last number their log popularity."""

    def __init__(
        self,
        items: ItemFeatures,
        log_popularity: Floats,
        known: Any,
        width: int,
        id_dropout: float,
        then: Then | None = None,
    ) -> None:
        """`known` [items] tells which items have a history; `then` what a fit takes for `log_popularity`."""
        super().__init__()
        self._then = then
        self.register_buffer("then", torch.from_numpy(then.logs) if then else None, persistent=False)
        sizes = (len(items.category), items.categories, items.brands, PRICE_BINS + 1)
        self.tables: Any = EmbeddingBagCollection(
            device=torch.device("cpu"),
            tables=[
                EmbeddingBagConfig(name=name, embedding_dim=width, num_embeddings=size, feature_names=[name])
                for name, size in zip(_NAMES, sizes, strict=True)
            ],
        )
        for table in self.tables.embedding_bags.values():
            nn.init.normal_(table.weight, std=_START)
        self.text = nn.Linear(items.text.shape[1], width)
        nn.init.normal_(self.text.weight, std=0.02)
        self.width, self.id_dropout = width, id_dropout
        rows = np.arange(sizes[0])
        columns = np.stack([rows, items.category, items.brand, items.price])
        self.register_buffer("columns", torch.from_numpy(columns), persistent=False)
        self.register_buffer("texts", torch.from_numpy(items.text), persistent=False)
        self.register_buffer("log_popularity", torch.from_numpy(log_popularity), persistent=False)
        self.register_buffer("known", torch.from_numpy(np.asarray(known, np.float32)), persistent=False)

    def start_ids(self, vectors: Floats) -> None:
        """Begin with the given id vectors [items, width]."""
        with torch.no_grad():
            self.tables.embedding_bags["id"].weight.copy_(torch.from_numpy(vectors))

    def changed_since(self, at: Ints, rows: Ints) -> Tensor | None:
        """What log popularity was at a time, less what it is: [times, n]; None: it is taken as it is.

        Args:
            at: ms.
            rows: of items, [n] or [times, n].
        """
        if self._then is None:
            return None
        found = self.then[rows_of(self._then.rows(at))[:, None], rows_of(rows)]  # type: ignore[index]
        return found - self.log_popularity[rows_of(rows)]  # type: ignore[index]

    def forward(self, rows: Tensor) -> Tensor:
        """Args: rows [n]. Returns: [n, width + 1]."""
        columns = self.columns[:, rows]  # type: ignore[index]
        found = self.tables(
            KeyedJaggedTensor(
                keys=list(_NAMES),
                values=columns.reshape(-1),
                lengths=torch.ones(columns.numel(), dtype=torch.int32, device=columns.device),
            )
        )
        parts = found.values().view(len(rows), len(_NAMES), self.width)
        kept = self.known[rows]  # type: ignore[index]
        if self.training:
            kept = kept * (torch.rand(len(rows), device=kept.device) > self.id_dropout)
        vector = parts[:, 0] * kept[:, None] + parts[:, 1:].sum(1) + self.text(self.texts[rows])  # type: ignore[index]
        return torch.cat([vector, self.log_popularity[rows][:, None]], 1)  # type: ignore[index]


def factorised(bought: Interactions, at_ms: int, width: int, share: float = 0.15) -> Floats:
    """Id vectors to begin with: a truncated SVD of who bought what, decayed by a year: [items, width].

    It spares training most of the epochs that the ids of a small shop would need. `share` is how long they are, of the
    square root of the width.
    """
    age = np.maximum(at_ms - bought.at, 0) / (365 * DAY_MS)
    shape = (len(bought.shoppers), len(bought.items))
    table: Any = sp.csr_matrix((0.5**age, (bought.shopper, bought.item)), shape=shape)
    table.data = np.sqrt(table.data)
    buyers = np.bincount(table.indices, minlength=shape[1])
    table = table @ sp.diags(1 / np.sqrt(buyers + 5))
    norms = np.sqrt(np.asarray(table.multiply(table).sum(1)).ravel())
    table = (sp.diags(1 / np.maximum(norms, 1e-9)) @ table).astype(np.float32).tocsr()
    rank = min(width, min(table.shape) - 1)
    if rank < 1:
        return np.zeros((shape[1], width), np.float32)
    _, strengths, axes = svds(table, k=rank, random_state=0)
    vectors = axes.T * np.sqrt(strengths)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    trusted = np.minimum(1, buyers[:, None] / 5)
    out = np.zeros((shape[1], width), np.float32)
    out[:, :rank] = vectors / np.maximum(lengths, 1e-9) * trusted * share * np.sqrt(width)
    return out


def all_vectors(tower: ItemTower, count: int) -> Floats:
    """Every item's vector: [count, width + 1]."""
    tower.eval()
    with torch.inference_mode():
        parts: list[Any] = [tower(rows).numpy() for rows in torch.split(torch.arange(count), 8192)]
    return np.asarray(np.concatenate(parts), np.float32)


def rows_of(indices: Ints) -> Tensor:
    """Indices as torch takes them."""
    return torch.from_numpy(np.ascontiguousarray(indices, dtype=np.int64))


def without_history(tower: ItemTower) -> dict[str, Floats]:
    """What `models.cold` makes the vector of an item that has no history: as `forward` does where `known` is 0."""
    arrays = {name: tower.tables.embedding_bags[name].weight for name in _NAMES[1:]}
    arrays |= {"text_weight": tower.text.weight, "text_bias": tower.text.bias}
    out = {name: np.array(values.detach().numpy(), np.float32) for name, values in arrays.items()}
    return out | {"log_popularity": np.array(tower.log_popularity.min().item(), np.float32)}  # type: ignore[operator]
