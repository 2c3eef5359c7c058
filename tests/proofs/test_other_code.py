"""The copy with other features is other code, and runs."""

import os
import subprocess
import sys
from pathlib import Path

from streams.replay.code import code_of_rows
from tests.proofs.other_code import CHANGED, NEW, written

_ASK = f"""
from features.aggregates import SHOPPER_BEHAVIOUR, shopper_values
from features.shoppers import State
values = shopper_values(State(views=3))
assert list(values) == list(SHOPPER_BEHAVIOUR.fields)
print(values["{CHANGED}"], values["{NEW}"])
"""


def test_the_copy_has_other_features(tmp_path: Path) -> None:
    more = written(tmp_path / "copy")
    assert code_of_rows(tmp_path / "copy" / "features") not in ("", code_of_rows())
    said = subprocess.run(
        [sys.executable, "-c", _ASK], env={**os.environ, **more}, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["6", "0"]
