"""`python -m` runs the project's verbs."""

from .cli import main

main()
