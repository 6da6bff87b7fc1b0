"""The error whose message is meant for users."""


class ProjectError(Exception):
    """An error that its reader can fix: sentences that name what is wrong, where, and what would be right."""

    def __init__(self, *sentences: str) -> None:
        """Show each sentence on a line of its own, whatever characters the names in it have."""
        super().__init__(*map(printable, sentences))

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


def printable(text: str) -> str:
    """Escape what controls a terminal or hides other text: control characters, line breaks, bidirectional overrides."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
