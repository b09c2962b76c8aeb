"""Licences of images, by the codes that filters are given in."""

import re
from collections.abc import Collection

from lt_extrap.config.curate_source import LICENCES
from lt_extrap.curate.records import Candidate, Refused

_URL = re.compile(r"https?://(?:www\.)?creativecommons\.org/(?:licenses/(by[a-z-]*)|publicdomain/(zero|mark))(?:/|$)")
_WORDS = (  # what the parts of a name may be called; the longer ones first
    (r"creative[- ]?commons", "cc"),
    (r"public[- ]?domain([- ]mark)?", "pdm"),
    (r"\bpd\b", "pdm"),
    (r"attribution", "by"),
    (r"non[- ]?commercial", "nc"),
    (r"share[- ]?alike", "sa"),
    (r"no[- ]?deriv[a-z]*", "nd"),
    (r"\b(cc[- ]?)?zero\b", "cc0"),
    (r"\b(licen[cs]e|international|universal|unported|generic|deed|dedication)\b", ""),
)
_NAME = re.compile(r"(?:cc-)?(cc0|pdm|by(?:-nc)?(?:-sa|-nd)?)(?:-\d(?:\.\d)?(?:-[a-z]{2})?)?")
_CODES = {"zero": "cc0", "mark": "pdm"}


def code(licence: str | None, url: str | None) -> str | None:
    """The code of a licence that is named, addressed, or both; None where it is none of those, or where the two differ.

    Args:
        licence: such as "CC BY-SA 4.0", "cc-by-sa-2.0-de", "Public domain", "by-sa".
        url: of its text.
    """
    found = {found for found in (_of_url(url or ""), _of_name(licence or "")) if found}
    return found.pop() if len(found) == 1 else None


def name(code: str, version: str | None = None) -> str:
    """A licence as people write it: "CC BY-SA 4.0", "CC0 1.0", "PDM 1.0"."""
    return f"{code.upper() if code in ('cc0', 'pdm') else f'CC {code.upper()}'} {version or ''}".strip()


def permitted(found: Candidate, allowed: Collection[str] | None) -> Candidate | Refused:
    """A candidate, or that its licence is not one of these.

    Args:
        found: the candidate.
        allowed: codes; None allows all, known or not.
    """
    if allowed is None or (of := code(found.licence, found.licence_url)) in allowed:
        return found
    return Refused(found.place, f"licence: {of or 'not known'}")


def _of_url(url: str) -> str | None:
    found = _URL.match(url.strip().lower())
    spelled = found and (found[1] or _CODES[found[2]])
    return spelled if spelled in LICENCES else None


def _of_name(text: str) -> str | None:
    text = text.lower()
    for pattern, short in _WORDS:
        text = re.sub(pattern, short, text)
    found = _NAME.fullmatch("-".join(re.findall(r"[a-z0-9.]+", text)))
    return found[1] if found else None
