"""Products with matrices that stay: the same numbers as torch's own, whatever computes them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.dense import Dense, quickened

sizes = st.integers(1, 300)


@settings(deadline=None)  # the first product starts oneDNN
@given(st.lists(st.integers(0, 40), min_size=1, max_size=2), sizes, sizes, st.integers(0, 2**32 - 1), st.booleans())
def test_a_product_is_that_of_torch(rows: list[int], inputs: int, outputs: int, seed: int, biased: bool) -> None:
    rng = np.random.default_rng(seed)
    x, weight, bias = (
        torch.from_numpy(rng.normal(size=shape).astype(np.float32))
        for shape in ((*rows, inputs), (outputs, inputs), (outputs,))
    )
    dense = Dense(weight, bias if biased else None)
    with torch.inference_mode():
        plain = x @ weight.T
        assert dense(x).numpy() == pytest.approx((plain + bias if biased else plain).numpy(), abs=1e-4)
        every_other = torch.stack((x, x), -1).reshape(*rows, 2 * inputs)[..., ::2]
        assert dense(every_other).numpy() == pytest.approx(dense(x).numpy(), abs=1e-4)


def test_a_quickened_module_says_what_it_said() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.ModuleList([nn.Linear(9, 2)])[0], nn.Dropout(0.5)).eval()
        x = torch.randn(7, 6)
    with torch.inference_mode():
        before = module(x)
        after = quickened(module.train())(x)
    assert not any(isinstance(part, nn.Linear) for part in module.modules())
    assert after.numpy() == pytest.approx(before.numpy(), abs=1e-6)
