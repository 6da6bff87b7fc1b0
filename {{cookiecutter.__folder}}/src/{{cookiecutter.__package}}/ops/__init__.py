"""How the project runs: the template's own code, which an update of the template may replace."""
