"""MLflow: runs, the registry of models, and the history of the champion."""
