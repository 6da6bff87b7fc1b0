"""DVC and git: which data and which code."""
