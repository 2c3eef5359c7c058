"""What Feast's command line reads: entities, views and services, declared from the tables of `features.aggregates`.

This folder is a leaf that nothing imports. Feast imports it after changing into it, with the variables that
`feature_store.yaml` names and DAOGOU_FEAST_OFFLINE, the folder of the offline feature log, in the environment.
"""

import os
from pathlib import Path

from features.offline import declare

_declared = declare(Path(os.environ["DAOGOU_FEAST_OFFLINE"]))

shopper, item = _declared.entities
shopper_behaviour, item_statistics, item_content = _declared.views
shopper_history, ranking = _declared.services
