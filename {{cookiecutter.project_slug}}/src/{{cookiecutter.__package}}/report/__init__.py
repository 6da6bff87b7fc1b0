"""What the report shows, as pure functions; editing it does not retrain. No Prefect, MLflow or DVC here."""
