"""What a person said of images and of classes; it stays when they are looked for, filtered and written again."""

from enum import StrEnum

from lt_extrap.curate.state import State

WHOLE = ""  # in place of an image's hash: the class


class Verdict(StrEnum):
    """Of a person."""

    KEEP = "keep"
    DROP = "drop"


def of_classes(state: State) -> dict[str, Verdict]:
    """The verdicts on classes, by key."""
    return {key: Verdict(said) for key, said in state.rows("SELECT key, verdict FROM verdict WHERE sha256 = ?", WHOLE)}


def of_images(state: State) -> dict[tuple[str, str], Verdict]:
    """The verdicts on images of classes, by the key of the class and the hash."""
    rows = state.rows("SELECT key, sha256, verdict FROM verdict WHERE sha256 != ?", WHOLE)
    return {(key, sha256): Verdict(said) for key, sha256, said in rows}
