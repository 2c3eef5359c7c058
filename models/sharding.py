"""Where the tables of the item tower go when several processes train them, by TorchRec's DistributedModelParallel."""

import warnings
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import nn

with warnings.catch_warnings():  # of other packages, at their import
    warnings.simplefilter("ignore")
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.model_parallel import DistributedModelParallel
    from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
    from torchrec.distributed.planner.types import ParameterConstraints
    from torchrec.distributed.types import ShardingEnv

WHOLE: Final = "data_parallel"


class _Whole(EmbeddingBagCollectionSharder):  # type: ignore[misc]
    """Every rank holds every table; gloo knows nothing else."""

    def sharding_types(self, compute_device_type: str) -> list[str]:  # noqa: ARG002
        return [WHOLE]


def spread_tables(tables: Any, device: torch.device) -> nn.Module:
    """The tables as all ranks of the default group train them, with what they hold."""
    with warnings.catch_warnings():  # of TorchRec, at what it does itself
        warnings.simplefilter("ignore")
        return _spread(tables, device)


def learned(spread: nn.Module, tables: Any) -> None:
    """Bring what was learned back into the plain tables."""
    tables.load_state_dict(spread.state_dict())


def _spread(tables: Any, device: torch.device) -> nn.Module:
    sharders = [_Whole()]
    held = {name: value.clone() for name, value in tables.state_dict().items()}
    constraints = {name: ParameterConstraints(sharding_types=[WHOLE]) for name in tables.embedding_bags}
    topology = Topology(world_size=dist.get_world_size(), compute_device=device.type)
    planner = EmbeddingShardingPlanner(topology=topology, constraints=constraints)
    plan = planner.collective_plan(tables, sharders, dist.group.WORLD)
    env = ShardingEnv.from_process_group(dist.group.WORLD)
    # Its outer module says names twice where it is inside of another one; it does nothing else.
    outer = DistributedModelParallel(tables, env=env, device=device, plan=plan, sharders=sharders)
    spread: nn.Module = outer.module
    spread.load_state_dict(held)
    return spread
