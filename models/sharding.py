"""The tables of the item tower over several processes, by TorchRec's DistributedModelParallel.

A large table is cut by rows: each rank holds and trains its own, and asks the others for theirs. A small one is whole
on every rank, which spares asking. The same plan holds on GPUs (nccl) and on CPUs (gloo). TorchRec's fused kernels
bring optimizers of their own; its dense ones leave the gradients to AdamW, which so does what it does in one process.
Its planner knows neither dense rows nor rows on a CPU, though both work: the plan is made here.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor.api import ShardedTensor

from models.ranks import Part

with warnings.catch_warnings():  # of other packages, at their import
    warnings.simplefilter("ignore")
    from torchrec import KeyedJaggedTensor, KeyedTensor
    from torchrec.distributed.embedding_types import EmbeddingComputeKernel
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.model_parallel import DistributedModelParallel
    from torchrec.distributed.sharding_plan import construct_module_sharding_plan, data_parallel, row_wise
    from torchrec.distributed.types import ShardingEnv, ShardingPlan

SHARDED_FROM: Final = 1024
_DENSE: Final = EmbeddingComputeKernel.DENSE.value
_SAID_IN_STEPS: Final = (
    r"`torch\.distributed\.\w+` is deprecated",  # TorchRec still calls it
    r"fbgemm::dense_embedding_codegen_lookup_function: an autograd kernel was not registered",  # it has its own inside
)


def spread_tables(tables: Any, device: torch.device, sharded_from: int) -> nn.Module:
    """The tables as all ranks of the default group train them, with what they hold.

    Args:
        tables: they stay as they are.
        device: where this rank trains.
        sharded_from: rows from which on a table is cut.
    """
    with warnings.catch_warnings():  # of TorchRec, at what it does itself
        warnings.simplefilter("ignore")
        return _spread(tables, device, sharded_from)


@contextmanager
def quiet_steps() -> Iterator[None]:
    """In the block TorchRec's steps do not say what is known of them; that gradients are right, tests show."""
    with warnings.catch_warnings():
        for said in _SAID_IN_STEPS:
            warnings.filterwarnings("ignore", message=said)
        yield


def parts_of(spread: nn.Module) -> dict[str, Part]:
    """Which rows of the tables that are cut this rank holds, by the parameter's name."""
    parts = {}
    for name, value in spread.state_dict().items():
        if isinstance(value, ShardedTensor):
            (shard,) = value.local_shards()
            begin, rows = shard.metadata.shard_offsets[0], shard.metadata.shard_sizes[0]
            parts[name] = Part(begin, begin + rows)
    return parts


def learned(spread: nn.Module, parts: Mapping[str, Part], joined: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """What the plain tables' state is now: whole where `joined` joins, on rank 0."""
    held = dict(spread.named_parameters())
    return {name: joined(held[name]) if name in parts else value for name, value in spread.state_dict().items()}


def forget(tables: Any) -> None:
    """Let go of what the plain tables hold."""
    for table in tables.embedding_bags.values():
        table.weight = nn.Parameter(table.weight.new_empty(0), requires_grad=False)


def _spread(tables: Any, device: torch.device, sharded_from: int) -> nn.Module:
    size = dist.get_world_size()
    sharder = EmbeddingBagCollectionSharder()
    rows = {name: table.num_embeddings for name, table in tables.embedding_bags.items()}
    places = {
        name: row_wise(compute_kernel=_DENSE) if _cut(count, size, sharded_from) else data_parallel()
        for name, count in rows.items()
    }
    plan = construct_module_sharding_plan(tables, places, sharder, size, size, device.type)
    env = ShardingEnv.from_process_group(dist.group.WORLD)
    outer = DistributedModelParallel(
        tables, env=env, device=device, plan=ShardingPlan({"": plan}), sharders=[sharder], init_data_parallel=True
    )
    # Its outer module says names twice where it is inside of another one; it does nothing else.
    spread: nn.Module = outer.module
    _load(spread, tables.state_dict())
    spread.register_forward_pre_hook(_as_many_everywhere)
    spread.register_forward_hook(_cut_back)
    return spread


def _cut(rows: int, ranks: int, sharded_from: int) -> bool:
    """A table is cut if it is large, and something of it is left for the last rank."""
    return rows >= sharded_from and -(-rows // ranks) * (ranks - 1) < rows


def _load(spread: nn.Module, held: Mapping[str, Tensor]) -> None:
    parts = parts_of(spread)
    with torch.no_grad():
        for name, parameter in spread.named_parameters():
            part = parts.get(name)
            parameter.copy_(held[name] if part is None else held[name][part.begin : part.end])


def _as_many_everywhere(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """TorchRec gathers gradients of rows; gloo gathers from each rank equally many only. What lacks is empty bags."""
    (asked,) = given
    keys, lengths = asked.keys(), asked.lengths()
    most = torch.tensor(asked.stride())
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    padded = nn.functional.pad(lengths.view(len(keys), -1), (0, int(most) - asked.stride()))
    return (KeyedJaggedTensor(keys=keys, values=asked.values(), lengths=padded.reshape(-1)),)


def _cut_back(_: nn.Module, given: tuple[Any, ...], found: Any) -> Any:
    """As many rows as were asked for, a value a key in each, in the order of the keys asked for."""
    (asked,) = given
    keys = asked.keys()
    by_name = found.to_dict()
    rows = asked.values().numel() // len(keys)
    values = [by_name[name][:rows] for name in keys]
    return KeyedTensor(keys=keys, length_per_key=[one.shape[1] for one in values], values=torch.cat(values, 1))
