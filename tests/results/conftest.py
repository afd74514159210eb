"""One made-up study for all tests of figures."""

import made_up
import pytest
from made_figures import PROBES

from results.tables import Frames


@pytest.fixture(scope="session")
def frames() -> Frames:
    return made_up.frames(made_up.study_records(("plain", "resnet"), (18, 66, 258), range(3), probes=PROBES))
