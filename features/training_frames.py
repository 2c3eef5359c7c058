"""Training frames: the features of shoppers as they were known just before each label, joined by Feast."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pandas as pd

from features.offline import StoreAt, joining, open_store

_LABEL: Final = "label_number"
_AT: Final = "event_timestamp"
_JUST_BEFORE: Final = timedelta(microseconds=1)  # event times are whole milliseconds


def training_frame(at: StoreAt, labels: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """The labels with features joined point in time, strictly before each label's own moment.

    Args:
        at: where the store lies.
        labels: `shopper` (record key), `event_timestamp` (aware), and whatever else is to be kept.
        features: `view:feature` names.

    Returns:
        One row for each label in the labels' order; features that nothing was known of are null.
    """
    asked = labels.reset_index(drop=True).assign(**{_LABEL: range(len(labels))})
    asked[_AT] = asked[_AT] - _JUST_BEFORE
    store = open_store(at)
    with joining():
        joined: Any = store.get_historical_features(entity_df=asked, features=list(features)).to_df()
    frame: pd.DataFrame = joined.sort_values(_LABEL).reset_index(drop=True)
    frame[_AT] = frame[_AT] + _JUST_BEFORE
    return frame.drop(columns=[_LABEL])
