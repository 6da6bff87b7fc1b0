"""The last step of a training whose model became champion: wait until it is in use."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ..ops import service


@task(name="deploy", timeout_seconds=3600, cache_policy=NO_CACHE)
def deploy(version: int) -> str:
    """Wait until the service of .env serves the version, and say so; one that does not is only a warning."""
    log = get_run_logger()
    deployment = service.deployed(version, log.info)
    (log.info if deployment.followed else log.warning)("%s", deployment.text)
    return deployment.text
