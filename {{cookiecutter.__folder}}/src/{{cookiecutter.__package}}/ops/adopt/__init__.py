"""Your table becomes that of the project."""
