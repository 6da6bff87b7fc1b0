"""What travels with every registered model. Nothing of Prefect, MLflow or DVC here."""

# The files of a saved model.
PIPELINE, RECIPE = "pipeline.skops", "recipe.json"
