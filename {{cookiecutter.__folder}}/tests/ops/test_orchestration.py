"""What is logged when the server goes away."""

import logging

import pytest
from httpx import ConnectError

from penguin_model.ops.orchestration.session import one_sentence


@pytest.mark.parametrize("wrapped", [False, True])
def test_lost_connection_is_logged_without_traceback(wrapped):
    fault = ConnectError("All connection attempts failed")
    if wrapped:  # as when Prefect asks for a slot of a concurrency limit
        lost, fault = fault, RuntimeError("Unable to acquire concurrency slots")
        fault.__cause__ = lost
    record = logging.LogRecord("prefect", logging.ERROR, "", 0, "Encountered %s", (), (type(fault), fault, None))
    assert one_sentence(record)
    assert (record.getMessage(), record.exc_info) == ("All connection attempts failed", None)
