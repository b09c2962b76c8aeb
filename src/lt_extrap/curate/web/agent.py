"""What curation calls itself on the web."""

from importlib.metadata import version

AGENT = "lt-extrap"  # as robots.txt names it


def agent(contact: str | None) -> str:
    """The tool, and whom to write to about what it does."""
    return f"{AGENT}/{version('lt-extrap')}" + (f" ({contact})" if contact else "")
