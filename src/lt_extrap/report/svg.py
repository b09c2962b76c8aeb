"""A figure of matplotlib as an element of a page: in the page's colors, light or dark, and in its font."""

import io
import re
import xml.etree.ElementTree as ET
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

_SVG, _LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
_NEVER = frozenset({"font", "font-family"})  # the page's
# What stands for a color of the page while matplotlib draws, and the page's name of it.
COLORS = {
    "ink": "#000001",
    "soft": "#000002",
    "line": "#000003",
    "many": "#000004",
    "medium": "#000005",
    "few": "#000006",
    "paper": "#000007",
}
_NAMES = {color: f"var(--{name})" for name, color in COLORS.items()}
RC: Any = {  # to mypy matplotlib's keys are literals
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # and a dollar a dollar
    "font.size": 10,
    "text.color": COLORS["ink"],
    "axes.edgecolor": COLORS["soft"],
    "axes.labelcolor": COLORS["ink"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": COLORS["soft"],
    "ytick.color": COLORS["soft"],
    "grid.color": COLORS["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def inline(figure: Figure, key: str, title: str, description: str) -> Markup:
    """An svg element with a title and a description, the same bytes for the same figure.

    Nothing in it is a style, which a page with a strict policy would leave out, and ids begin with the key.

    Args:
        figure: drawn under `RC` in `COLORS`.
        key: of its place on the page: letters, digits and hyphens.
        title: what it is.
        description: what it shows, for those who do not see it.
    """
    out = io.BytesIO()
    with rc_context(RC | {"svg.hashsalt": key}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(out.getvalue())
    kept = set(re.findall(rb"(?:url\(#|href=\"#)([^)\"]+)", out.getvalue()))
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _restyle(element, {name.decode() for name in kept}, key)
    width, height = (root.attrib[side].removesuffix("pt") for side in ("width", "height"))
    root.attrib.update({
        "width": width, "height": height, "role": "img", "aria-labelledby": f"{key}-title {key}-desc",
        "stroke-linejoin": "round", "stroke-linecap": "butt",
    })  # fmt: skip
    for name, text in (("desc", description), ("title", title)):
        said = ET.Element(f"{{{_SVG}}}{name}", {"id": f"{key}-{name}"})
        said.text = text
        root.insert(0, said)
    return Markup(ET.tostring(root, encoding="unicode"))


def _restyle(element: ET.Element, kept: set[str], key: str) -> None:
    """Turn the style of an element into attributes, colors into those of the page, and ids into the page's own."""
    declared = dict(part.split(":", 1) for part in element.attrib.pop("style", "").split(";") if ":" in part)
    for name, value in ((name.strip(), value.strip()) for name, value in declared.items()):
        if name == "font":  # 10px 'DejaVu Sans'
            element.set("font-size", value.split()[0 if value[0].isdigit() else 1].removesuffix("px"))
        elif name == "font-size":
            element.set(name, value.removesuffix("px"))
        elif name not in _NEVER:
            element.set(name, value)
    for name in ("fill", "stroke"):
        if (color := element.get(name)) in _NAMES:
            element.set(name, _NAMES[color])
    if (own := element.attrib.pop("id", None)) in kept:
        element.set("id", f"{key}-{own}")
    for name in ("clip-path", "fill"):
        if (value := element.get(name, "")).startswith("url(#"):
            element.set(name, value.replace("url(#", f"url(#{key}-"))
    if (target := element.attrib.pop(_LINK, None)) is not None:
        element.set("href", target.replace("#", f"#{key}-", 1))
