"""Deployments on a Prefect server, and the worker that runs them."""
