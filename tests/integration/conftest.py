import pytest

import steadyspike
from steadyspike.integration.acceleration import calls


@pytest.fixture(autouse=True)
def off_afterwards():
    calls.forget()
    yield
    steadyspike.accelerate(False)
    steadyspike.repair(False)
