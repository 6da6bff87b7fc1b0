"""Pure functions: frames and values in, frames and values out. No Prefect, MLflow or DVC here."""
