"""What is packed with every registered model. No Prefect, MLflow or DVC."""

# The files of a saved model.
PIPELINE, RECIPE = "pipeline.skops", "recipe.json"
