"""What a host says, in the headers of its answers, against the use of what it sends."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# No picture of theirs in an index, or in what a machine learns from.
_RESERVED = frozenset({"noai", "noimageai", "noml", "noindex", "noimageindex", "none"})
# These have a value after their colon, where other words are the name of a robot.
_VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_ROBOT = re.compile(r"[a-z0-9_.*-]+(?:/[0-9.]+)?")
_TRAINING = ("train-ai", "ai-train", "bots")  # of AIPREF, of Content Signals, and of an older AIPREF: all uses
_USE = re.compile(r"([a-z][a-z0-9*_.-]*)\s*=\s*\"?([a-z]+|\?[01])")


def opt_outs(headers: Iterable[tuple[str, str]], *, agent: str) -> tuple[str, ...]:
    """What the headers of an answer reserve.

    X-Robots-Tag is read directive by directive; one after the name of a robot, and what follows it in the same header,
    is for that robot. TDM-Reservation (TDMRep), Content-Usage (IETF AIPREF) and Content-Signal are read too.

    Args:
        headers: names and values, as they came.
        agent: the name that this program has for robots.

    Returns:
        What was said, such as `x-robots-tag: noai`, each once; empty where nothing is reserved.
    """
    found = list[str]()
    for name, value in headers:
        header = name.lower()
        if header == "x-robots-tag":
            found += [f"{header}: {directive}" for directive in _directives(value, agent.lower())]
        elif header == "tdm-reservation" and value.strip() == "1":
            found.append(f"{header}: 1")
        elif header in ("content-usage", "content-signal") and (use := training(value)) is not None and use.reserved:
            found.append(f"{header}: {use.said}")
    return tuple(dict.fromkeys(found))


def _directives(value: str, agent: str) -> list[str]:
    """The reserving directives for this robot in a value of X-Robots-Tag."""
    found, concerned = list[str](), True
    for item in value.lower().split(","):
        before, colon, after = (part.strip() for part in item.partition(":"))
        directive = before
        if colon and before not in _VALUED | _RESERVED and _ROBOT.fullmatch(before):
            concerned = before.partition("/")[0] in ("*", agent)
            directive = after.partition(":")[0].strip()
        if concerned and directive in _RESERVED:
            found.append(directive)
    return found


class Use(NamedTuple):
    """What somebody says of a use.

    Attributes:
        said: the word for it and what is said, such as `train-ai=n`.
        reserved: whether it is not wanted.
    """

    said: str
    reserved: bool


def training(preferences: str) -> Use | None:
    """What is said of the training of models, such as in `search=y, train-ai=n`; None where nothing is."""
    uses = dict(_USE.findall(preferences.lower()))
    for category in _TRAINING:
        if (said := uses.get(category)) is not None:
            return Use(f"{category}={said}", said in ("n", "no", "?0"))
    return None
