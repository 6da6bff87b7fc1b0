"""Parts of the sentences that several steps say."""

from collections.abc import Sequence


def few(items: Sequence[str], most: int = 3) -> str:
    """Return items for a sentence: the first ones, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
