"""The error whose message is meant for users."""


class ProjectError(Exception):
    """An error that its reader can fix: one sentence that names what is wrong, where, and what would be right."""
