"""Puts this folder on the import path, so that tests in any sub-folder can `from conformance import ...`."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect():
    """Keep what the tests before have loaded out of collections: SpikeInterface asks for one whenever it saves."""
    gc.collect()
    gc.freeze()
