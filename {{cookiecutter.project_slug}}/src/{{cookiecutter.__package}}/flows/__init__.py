"""Wiring only: flows order the steps and call the modules that touch the world."""

from ..ops.orchestration.session import configure

# Prefect reads its settings when it is first imported, and every way to it leads through this package.
configure()
