"""Hydra's and OmegaConf's errors in our words: what was wanted, what was found, what to do."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lt_extrap.config import OPTIONS, PretrainConfig, TrainConfig
from lt_extrap.errors import ConfigError
from lt_extrap.paths import conf_dir


def told(error: HydraException | OmegaConfBaseException) -> ConfigError:
    """An error of composing or overriding as one of ours."""
    text, cause = str(error), error.__cause__
    first = text.strip().split("\n")[0]
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group in ("recipe/scripts", "recipe/scripts_baseline"):
            name = name.removesuffix(".yaml")
            return ConfigError(
                f"an experiment with a recipe in conf/{group}/",
                "no experiment" if name == "None" else f"experiment={name}",
                f"choose another recipe, such as recipe=finetune; or experiment={', '.join(error.options)}",
            )
        remedy = experiments(error.options) if group == "experiment" else ", ".join(error.options)
        return ConfigError(f"{group} to be one of conf/{group}/", name, f"{_near(name, error.options)}choose {remedy}")
    if isinstance(error, OverrideParseException):
        key, _, value = (error.override or "").partition("=")
        if value.startswith("~/"):
            remedy = f"no shell reads ~ there: write {key}=$HOME{value[1:]}"
        elif "/" in value and not set("'\"[{") & set(value):
            remedy = f"quote a path with = or brackets for the shell and for Hydra: '{key}=\"{value}\"'"
        else:
            remedy = "quote words with spaces, brackets or commas for the shell: 'auxiliary.sampling_ratio=[1,1,3]'"
        return ConfigError("words of the form key=value", f"{error.override!r}: {first}", remedy)
    if isinstance(error, MissingMandatoryValue):
        return ConfigError("a value for every key", first, f"give {error.full_key or error.key}=...")
    if match := re.match(r"Could not override '([^']+)'", text):
        key = match[1]
        return ConfigError("keys that the chosen options have", key, spelled(key))
    match = re.match(r"In 'experiment/(\S+)': Could not override '(\w+)'", text)
    if match and (conf_dir() / match[2]).is_dir():  # else it is a misspelt group
        return _other_commands(match[1], f"chooses {match[2]}=")
    if match := re.match(r"In '(\S+)'.*\nKey '\S+' not in '(\w+)'\n\s+full_key: (\S+)", text):
        file, schema, key = match.groups()
        if schema == TrainConfig.__name__ and key in _names(PretrainConfig):
            return _other_commands(file.removeprefix("experiment/").removesuffix(".yaml"), f"sets {key}")
        return ConfigError(
            f"options that have every key which conf/{file.removesuffix('.yaml')}.yaml sets",
            f"{key}, which {schema} has not",
            f"leave the options of that file as they are; {spelled(key)}",
        )
    if match := re.match(r"Error merging override \+*([^=\s]+)=(.*)", text):
        reason = str(cause).strip().split("\n")[0] if cause else text
        return ConfigError(
            f"a value of the right type for {match[1]}", f"{match[1]}={match[2]}: {reason}", _typed(match[1])
        )
    if "value1,value2" in text or "requires --multirun" in text:
        return ConfigError(
            "one value for each key in a single run",
            first,
            "add -m for a run of each value, or quote a value with commas: 'key=\"a,b\"', or a list: 'key=[a,b]'",
        )
    reason = "; ".join(line.strip() for line in f"{text}\n{cause or ''}".splitlines() if line.strip())
    return ConfigError(
        "overrides that name keys and options of conf/", reason, "correct them; --help prints the options"
    )


def spelled(key: str) -> str:
    """What to write instead of a key that nobody has, or that another option has."""
    owners = _keys()
    key = key.lstrip("+~")
    if options := owners.get(key):
        return f"leave it out, or choose an option that has it: {', '.join(options)}"
    train = {*_names(TrainConfig), "component"}
    if key in owners or key in train:  # that command would not have refused it
        command = "train" if key in train else "pretrain"
        return f"leave it out: lt_extrap.{command} has that key, and this command has not"
    return f"{_near(key, owners)}correct the spelling (--cfg job prints every key)"


def experiments(names: Iterable[str] | None = None, *, pretrain: bool = False) -> str:
    """The experiments, a line each: name and what the file says about itself.

    Args:
        names: which ones; None = all of a command's.
        pretrain: whether those are of lt_extrap.pretrain.
    """
    folder = conf_dir() / "experiment"
    every = (path.stem for path in folder.glob("*.yaml"))
    found = sorted((name for name in every if _pretrains(name) == pretrain) if names is None else names)
    return "an experiment:" + "".join(f"\n    experiment={name:<20} {_headline(folder / name)}" for name in found)


def refuse_words(words: Iterable[str]) -> None:
    """Refuse what Hydra would take wrongly: a group without an option, and a list without its brackets.

    With -m `key=1,1,3` would be three runs, each with a number for a list.

    Raises:
        ConfigError: such a word.
    """
    lists = {key for key, type_ in _types() if type_.startswith("list")}
    for word in words:
        key, _, value = word.partition("=")
        if value == "null" and (conf_dir() / key).is_dir():
            options = ", ".join(sorted(path.stem for path in (conf_dir() / key).glob("*.yaml")))
            raise ConfigError(f"{key} to be one of conf/{key}/", "null", f"choose {options}; or leave it out")
        if word.startswith("-") or key not in lists:
            continue
        (override,) = OverridesParser.create().parse_overrides([word])
        if override.is_sweep_override() and not any(isinstance(value, list) for value in override.sweep_iterator()):
            raise ConfigError(
                f"a list for {key}",
                f"{word}, which is {len(value.split(','))} runs with a number each",
                f"write '{key}=[{value}]'; two lists: '{key}=[{value}],[...]'",
            )


def refuse_experiment(name: str | None) -> None:
    """Refuse an experiment of lt_extrap.train for a pretraining, which might take every key of it.

    Raises:
        ConfigError: it is one; those of one's own are taken as they are.
    """
    if name is not None and not _pretrains(name) and (conf_dir() / "experiment" / f"{name}.yaml").is_file():
        raise _other_commands(name, "trains a classifier")


def _pretrains(experiment: str) -> bool:
    """Whether an experiment of ours is of lt_extrap.pretrain."""
    return experiment.endswith("_mgp")


def _other_commands(experiment: str, does: str) -> ConfigError:
    """Of an experiment of train for pretrain, or the other way round."""
    command = "pretrain" if _pretrains(experiment) else "train"
    return ConfigError(
        "an experiment of this command",
        f"experiment={experiment}, which {does}",
        f"run python -m lt_extrap.{command} experiment={experiment}, or choose another experiment",
    )


def _near(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, [other for other in words if other != word], n=1, cutoff=0.75)
    return f"did you mean {close[0]}? " if close else ""


def _headline(experiment: Path) -> str:
    """The first comment of an experiment's file, but for Hydra's own; files of the user's may have none."""
    file = experiment.with_suffix(".yaml")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line), "")


def _keys() -> dict[str, list[str]]:
    """Every key of a run, and of a group's key the options that have it."""
    owners: dict[str, list[str]] = {key: [] for schema in (TrainConfig, PretrainConfig) for key in _names(schema)}
    for group, kinds in OPTIONS.items():
        for kind, class_ in kinds.items():
            for key in _names(class_, f"{group}."):
                owners.setdefault(key, []).extend(f"{group}={option}" for option in _options(group, kind))
    return owners


def _types() -> Iterator[tuple[str, str]]:
    for group, kinds in OPTIONS.items():
        for class_ in kinds.values():
            for field in fields(class_):
                name = field.type.__name__ if isinstance(field.type, type) else str(field.type)
                yield f"{group}.{field.name}", name


def _typed(key: str) -> str:
    if below := [name for name in _keys() if name.startswith(f"{key}.")]:
        return f"give its keys: {', '.join(below[:5])}"
    wanted = dict(_types()).get(key, "")
    if wanted.startswith("list"):
        return f"give a list: '{key}=[...]'"
    return f"give {key} a value of type {wanted}" if wanted else "correct the value"


def _names(class_: type, at: str = "") -> Iterator[str]:
    for field in fields(class_):
        yield f"{at}{field.name}"
        if is_dataclass(field.type):
            yield from _names(field.type, f"{at}{field.name}.")  # type: ignore[arg-type]


def _options(group: str, kind: str) -> list[str]:
    """The files of conf/<group>/ that are of a kind, by what their defaults begin with."""

    def kind_of(path: Path) -> str:
        text = path.read_text(encoding="utf-8")
        if match := re.search(r"/schema/\w+/(\w+)@", text):
            return match[1]
        if path.with_suffix("").is_dir():
            return kind_of(next(path.with_suffix("").glob("*.yaml")))
        match = re.search(r"defaults: \[(?:/\w+/)?(\w+)", text)
        return kind_of(conf_dir() / group / f"{match[1]}.yaml") if match else ""

    return [path.stem for path in sorted((conf_dir() / group).glob("*.yaml")) if kind_of(path) == kind]
