"""Each push runs `make test`, each night `make test-all`: also the tests that are marked nightly."""

import os
from datetime import UTC, datetime

import pytest
from _pytest.mark import ParameterSet

# The same in all workers, which inherit the environment.
SEED = int(os.environ.setdefault("TEST_SEED", str(datetime.now(UTC).date().toordinal())))

nightly = pytest.mark.nightly


def in_turn(*cases: object) -> list[ParameterSet]:
    """Return parameters for equal cases: each push tests one of them, by the seed, and the night all."""
    turn = SEED % len(cases)
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[nightly] if at != turn else [])
        for at, case in enumerate(cases)
    ]
