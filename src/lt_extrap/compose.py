"""From overrides to a configuration, and from a configuration to plain containers and back."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_extrap.config import OPTIONS, Backbone, PretrainConfig, RunConfig, Silencing, TrainConfig, check
from lt_extrap.errors import ConfigError
from lt_extrap.machine import computes_in_bfloat16
from lt_extrap.paths import conf_dir
from lt_extrap.refusals import experiments, spelled, told

_FORMER = {"Recipe": "AdamW"}  # what a run.json may call a class that has another name now
_AUXILIARY = {  # of each component: what its file chooses
    "baseline": "none",
    "random": "random",
    "neighbors": "neighbors",
    "silencing": "neighbors",
    "permuted": "permuted",
    "target_extra": "target_extra",
}
_ONCE = {"adapter": "NoAdapter"}  # groups that it may lack, and what all runs had then


def configure(*overrides: str) -> TrainConfig:
    """The configuration of a run that these overrides make: for notebooks, tests, and other commands.

    Raises:
        ConfigError: it cannot mean anything.
    """
    return cast(TrainConfig, configure_command("train", *overrides))


def configure_command(command: str, *overrides: str) -> Any:
    """The configuration of any command that these overrides make, as on its command line.

    Args:
        command: a file of conf/, such as `curate`; its module has to be imported, for it brings the schema.
        overrides: as behind `python -m lt_extrap.<command>`.

    Raises:
        ConfigError: it cannot mean anything.
    """
    running = GlobalHydra.instance().hydra  # of the command that asks, if it is one
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            composed = hydra.compose(command, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise told(error) from error
    finally:
        GlobalHydra.instance().hydra = running
    return from_hydra(composed)


def from_hydra(composed: DictConfig) -> Any:
    """The composed configuration as an object of its schema, every reference resolved and every range checked.

    Raises:
        ConfigError: a key that no schema knows (`+key=` goes past Hydra's own check), a value that is missing,
            a reference that leads nowhere, or a value out of its range.
    """
    unknown = sorted(_unknown_keys(composed))
    if unknown:
        raise ConfigError("only keys that the schema knows", ", ".join(unknown), spelled(unknown[0]))
    try:
        OmegaConf.resolve(composed)
        missing = sorted(OmegaConf.missing_keys(composed))
        if "target" in missing:
            known = experiments(pretrain=OmegaConf.get_type(composed) is PretrainConfig)
            raise ConfigError(
                "experiment=<name>, or target=<name>", "neither", f"choose a target (target=lists), or {known}"
            )
        if missing:
            raise ConfigError("a value for every key", "none for " + ", ".join(missing), f"give {missing[0]}=...")
        return OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        if (own := _own_error(error)) is not None:
            raise own from None
        raise ConfigError(
            "a configuration whose references resolve",
            _reason(error),
            "give that key a value, or choose a target that has it (auxiliary sets belong to a target)",
        ) from None


def refuse_misnamed(choices: Mapping[str, Any], config: TrainConfig) -> None:
    """Refuse a row that is not what its component says: tables have that name.

    Args:
        choices: the option of each group of conf/ that was chosen.
        config: what came of them and of all other words.

    Raises:
        ConfigError: its auxiliary classes are others, or it is to silence neighbors and its loss does not.
    """
    component, auxiliary = str(choices.get("component")), str(choices.get("auxiliary"))
    own = _AUXILIARY.get(component, auxiliary)
    if auxiliary != own and auxiliary in _AUXILIARY.values():  # a file of the user's own may be what it wants
        raise ConfigError(
            f"auxiliary={own}, which component={component} says",
            f"auxiliary={auxiliary}",
            f"leave auxiliary= out; or leave component= out and say auxiliary={auxiliary} loss=<name>",
        )
    if component in ("silencing", "permuted") and not isinstance(config.loss, Silencing):
        raise ConfigError(
            f"a loss that silences neighbors, which component={component} says",
            f"the loss {type(config.loss).__name__}, which silences none",
            "leave loss= out (loss.bce=true silences in binary cross entropy), or say component=neighbors, which it is",
        )


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain containers, for run.json and loggers."""
    return asdict(config)


def kinds(config: RunConfig) -> dict[str, str]:
    """Which option each group has, by the name of its class: what `to_dict` does not say."""
    return {group: type(getattr(config, group)).__name__ for group in OPTIONS if hasattr(config, group)}


def pretrains(kinds: Mapping[str, str]) -> bool:
    """Whether these are of a pretraining, which has a backbone and no loss to choose."""
    return "backbone" in kinds and "loss" not in kinds


def from_dict(values: Mapping[str, Any], kinds: Mapping[str, str]) -> RunConfig:
    """The configuration of `to_dict` and `kinds`. Only classes named here are made: a stranger's run.json is no code.

    Raises:
        ConfigError: a key or class that this version does not have, a wrong type, or a value out of its range.
    """
    schema = PretrainConfig if pretrains(kinds) else TrainConfig
    node = OmegaConf.structured(schema)
    for group, options in OPTIONS.items():
        if group not in {field.name for field in fields(schema)}:
            continue
        known = {option.__name__: option for option in options.values()}
        kind = kinds.get(group, _ONCE.get(group))
        kind = _FORMER.get(str(kind), kind)
        check(kind in known, f"the class of {group}", "one of " + ", ".join(known), kind)
        node[group] = OmegaConf.structured(known[str(kind)])
    try:
        return cast(RunConfig, OmegaConf.to_object(OmegaConf.merge(node, dict(values))))
    except OmegaConfBaseException as error:
        raise ConfigError(
            "a configuration of this version",
            _reason(error),
            "use the version that wrote it",
        ) from None


def _own_error(error: BaseException | None) -> ConfigError | None:
    """What a resolver or a schema of ours said, below what OmegaConf made of it."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    return error


def _reason(error: OmegaConfBaseException) -> str:
    return f"{error.full_key or 'configuration'}: {error.msg or error}".replace("\n", " ")


def _unknown_keys(node: Any, at: str = "") -> Iterator[str]:
    """Keys of a structured node that its class does not have; open dictionaries accept anything."""
    if not isinstance(node, DictConfig):
        return
    schema = OmegaConf.get_type(node)
    known = {f.name for f in fields(schema)} if is_dataclass(schema) else {str(key) for key in node}
    for key in map(str, node):
        if key not in known:
            yield f"{at}{key}"
        elif not OmegaConf.is_missing(node, key):
            yield from _unknown_keys(node._get_node(key), f"{at}{key}.")


def _native_size(backbone: DictConfig, most: int) -> int:
    """Pixels that a backbone's weights were trained at, or `most`: `${native_size:${backbone},224}` in a recipe."""
    from lt_extrap.model.preprocessing import preprocessing_of  # seconds that other commands need not wait

    if missing := sorted(OmegaConf.missing_keys(backbone)):
        raise ConfigError("a value for every key", f"none for {missing[0]}", f"give {missing[0]}=...")
    node = OmegaConf.to_object(backbone)
    size = preprocessing_of(cast(Backbone, node)).size
    if size is None:
        raise ConfigError(
            "a value for recipe.image_size",
            f"none, and backbone={type(node).__name__.lower()} takes images of any size",
            "set recipe.image_size=<pixels>",
        )
    return min(size, most)


def _native_precision(accelerator: str) -> str:
    """bf16-mixed where it computes in bfloat16, else 32-true: `${native_precision:${trainer.accelerator}}`."""
    import torch

    auto = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = {"auto": auto, "gpu": auto}.get(accelerator, accelerator)
    return "bf16-mixed" if computes_in_bfloat16(device) else "32-true"


OmegaConf.register_new_resolver("native_size", _native_size, replace=True)
OmegaConf.register_new_resolver("native_precision", _native_precision, replace=True)


def _register() -> None:
    """Offer the schema to Hydra: `schema/<group>/<name>` for the option files to start from."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=TrainConfig)
    store.store(group="schema", name="pretrain", node=PretrainConfig)
    for group, nodes in OPTIONS.items():
        for name, node in nodes.items():
            schema = OmegaConf.structured(node)
            if "options" in schema and not OmegaConf.is_missing(schema, "options"):
                OmegaConf.set_struct(schema.options, False)  # arguments of another library: any key is welcome
            store.store(group=f"schema/{group}", name=name, node=schema)


_register()
