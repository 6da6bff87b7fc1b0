"""The one error whose message is meant for people."""


class ProjectError(Exception):
    """A fault that its reader can mend: one sentence that names what is wrong, where, and what would be right."""
