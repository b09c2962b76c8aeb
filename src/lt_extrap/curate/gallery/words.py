"""Reasons in words, as the gallery tells them."""

from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED

_WORDS = {
    None: "kept",
    "small": "too small",
    "blank": "one even colour",
    "placeholder": "a placeholder",
    "copy_of_test": "copy of test image",
    "copy_of_val": "copy of val image",
    "copy_of_train": "copy of train image",
    "cosine": "outside the band",
    "duplicate": "copy of a kept one",
    "duplicate_of_another_class": "copy elsewhere",
    "suspect": "suspect class",
    "more_than_asked": "more than asked",
    "reviewed": "reviewed",
    "caption": "captions that do not name it",
    "unreadable": "unreadable",
    "to do": "not decided yet",
    FORGOTTEN: "forgotten",
    NOT_NEEDED: "not needed",
    "forbidden": "forbidden by your list",
    "target": "a target, or its synonym",
    "shared_name": "shares a name with a target",
    "hypernym": "a target is a kind of it",
    "hyponym": "a kind of a target",
    "misspelled": "a letter from a target's name",
    "person": "a kind of person",
    "near_synonym": "nearly a target's name",
}


def word(reason: str | None) -> str:
    """A reason in words; one without is told as it is."""
    return _WORDS.get(reason) or str(reason)
