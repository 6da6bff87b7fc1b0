"""Secrets of .env that a Prefect server keeps, encrypted: for flows that run without a .env, and for its messages."""

from typing import Any, cast
from uuid import UUID

from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from pydantic import SecretStr

from ..settings import cloud_options, read_settings, variables

# How references to Secret blocks begin.
REFERENCE = "prefect.blocks.secret."
# What flows read from .env, but prefect.yaml must not name: the server stores that as plain text.
NAMES = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "SOURCE_URL",
    "PREDICTIONS_URL",
    "NOTIFY_WEBHOOK_URL",
    "NOTIFY_ON",
)


def add_to(template: dict[str, Any], pool: str) -> None:
    """Save NAMES and the keys of the cloud's storage as blocks; let a worker put them into the environment of runs."""
    values = variables()
    secrets = {name: values[name] for name in NAMES if name in values} | cloud_options()
    for name, value in secrets.items():
        Secret(value=value).save(_block(pool, name), overwrite=True)
    # The server accepts references to blocks only here, as defaults of a variable.
    env = template["variables"]["properties"]["env"]
    others = {name: value for name, value in (env.get("default") or {}).items() if REFERENCE not in value}
    before, after = "{" * 2, "}" * 2  # of a placeholder, which the server or a worker replaces by a value
    env["default"] = others | {name: f"{before} {REFERENCE}{_block(pool, name)} {after}" for name in secrets}


def webhook(pool: str) -> UUID | None:
    """Save the address of the channel as a block; return the block's id, or None without a channel."""
    address = read_settings().notify_webhook_url
    if address is None:
        return None
    block = Webhook(url=SecretStr(address))
    return cast("UUID", block.save(_block(pool, "channel"), overwrite=True))


def _block(pool: str, name: str) -> str:
    """Return the name of a block, which may have letters, digits and hyphens: the work pool's name comes first."""
    return f"{pool}-{name}".lower().replace("_", "-")
