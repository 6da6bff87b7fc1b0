"""What the report shows, as pure functions; an edit here does not retrain. No Prefect, MLflow or DVC."""
