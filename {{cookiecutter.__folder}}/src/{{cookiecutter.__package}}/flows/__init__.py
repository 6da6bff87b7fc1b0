"""The flows: they order the steps, and call `ops` for everything outside of Python."""

import logging

from ..ops.orchestration.session import configure, one_sentence

# Prefect reads its settings when it is imported, and every import of Prefect's flows passes through here.
configure()
for name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(name).addFilter(one_sentence)
