"""What do the tests of the runtime share: the address of the session's broker."""

import pytest

from infra.embedded.testing import Engines


@pytest.fixture
def bootstrap(engines: Engines) -> str:
    return engines.bootstrap
