"""What the ranges of the schema are checked with."""

from lt_extrap.errors import ConfigError


def check(holds: bool, key: str, wanted: str, found: object) -> None:
    """Raise a `ConfigError` naming the key and its legal values, unless the condition holds."""
    if not holds:
        raise ConfigError(f"{key} to be {wanted}", repr(found), f"correct {key}")


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a `ConfigError` unless the value of the key is one of these."""
    check(value in choices, key, "one of " + ", ".join(choices), value)
