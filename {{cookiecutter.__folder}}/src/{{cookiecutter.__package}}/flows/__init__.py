"""The flows: they order the steps, and call `ops` for everything outside of Python."""

from ..ops.orchestration.session import configure

# Prefect reads its settings when it is imported, and every import of Prefect's flows passes through here.
configure()
