"""What a language model is asked, from a file with placeholders."""

from collections.abc import Mapping
from pathlib import Path
from string import Template

from lt_extrap.errors import ConfigError
from lt_extrap.paths import conf_dir

PLACEHOLDERS = ("k", "name", "synonyms", "gloss", "parent", "avoid", "named")
_NEEDED = ("name", "named")  # without the latter, a second question would be the first


class Prompt:
    """A text with `$name` and other placeholders; a line that has one of which nothing is known is left out.

    Args:
        text: with placeholders, of which `name` and `named` are there.

    Raises:
        ValueError: a placeholder is unknown or missing.
    """

    def __init__(self, text: str) -> None:
        self._lines = [Template(line) for line in text.strip().splitlines()]
        if not all(line.is_valid() for line in self._lines):
            raise ValueError("a $ that begins no placeholder (write $$)")
        found = {name for line in self._lines for name in line.get_identifiers()}
        if unknown := sorted(found.difference(PLACEHOLDERS)):
            raise ValueError(f"the placeholder ${unknown[0]}")
        if missing := [name for name in _NEEDED if name not in found]:
            raise ValueError(f"no ${missing[0]}")

    def fill(self, values: Mapping[str, str]) -> str:
        """The question.

        Args:
            values: of placeholders; those that are missing or empty are not known.
        """
        known = {name: value for name, value in values.items() if value}
        return "\n".join(line.substitute(known) for line in self._lines if known.keys() >= set(line.get_identifiers()))


def read_prompt(name: str) -> Prompt:
    """A prompt of conf/prompt/ by its name, or a file by its path, which has a slash.

    Raises:
        ConfigError: there is none, or none that can be filled in.
    """
    folder = conf_dir() / "prompt"
    file = Path(name).expanduser() if "/" in name else folder / f"{name}.txt"
    try:
        return Prompt(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        names = ", ".join(sorted(path.stem for path in folder.glob("*.txt")))
        raise ConfigError(
            f"a prompt: {names}, or a file with $name, $named and, as one likes, any of ${', $'.join(PLACEHOLDERS)}",
            f"{file}: {error}",
            "correct proposer.prompt, with a slash if it is a file of yours",
        ) from None
