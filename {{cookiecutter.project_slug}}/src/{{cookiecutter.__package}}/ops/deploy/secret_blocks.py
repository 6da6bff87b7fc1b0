"""What a Prefect server keeps of .env, encrypted: for flows that run where no .env is, and for its own messages."""

import os
from typing import cast
from uuid import UUID

from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from pydantic import SecretStr

from ..settings import cloud_options, read_settings

# What flows read from .env, and prefect.yaml must not say: it is stored as plain text.
NAMES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "SOURCE_URL", "NOTIFY_WEBHOOK_URL", "NOTIFY_ON")


def environment(pool: str) -> dict[str, str]:
    """Keep what .env says of NAMES and of the cloud's storage; return the environment for a worker to fill in."""
    found = {name: value for name in NAMES if (value := os.environ.get(name))} | cloud_options()
    for name, value in found.items():
        Secret(value=value).save(_block(pool, name), overwrite=True)
    return {name: _filled_in(f"prefect.blocks.secret.{_block(pool, name)}") for name in found}


def webhook(pool: str) -> UUID | None:
    """Keep the address of the channel that is told; return the block, None if nobody is."""
    address = read_settings().notify_webhook_url
    if address is None:
        return None
    block = Webhook(url=SecretStr(address.get_secret_value()))
    return cast("UUID", block.save(_block(pool, "channel"), overwrite=True))


def _filled_in(name: str) -> str:
    """Return what Prefect's server and worker put the value of a name in the place of."""
    return "{" * 2 + f" {name} " + "}" * 2


def _block(pool: str, name: str) -> str:
    """Return the name of a block: letters, digits and hyphens, with that of the work pool before it."""
    return f"{pool}-{name}".lower().replace("_", "-")
