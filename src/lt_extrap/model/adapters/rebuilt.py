"""A backbone built again for weights that were trained on it."""

from lt_extrap.config import Adapter, Backbone, NoAdapter
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.model.adapters.adapted import adapt
from lt_extrap.model.backbones import NormalisedBackbone, build_backbone, load_pretrained


def rebuilt(
    backbone: Backbone, adapter: Adapter, *, image_size: int, classes: int, identity: str | None, holder: str
) -> NormalisedBackbone:
    """A backbone into which the weights of a file can be loaded: with an adapter, on its own frozen ones.

    Args:
        backbone: of the run that wrote the file.
        adapter: of that run.
        image_size: of that run.
        classes: of its target.
        identity: of the frozen backbone that its adapter was trained on; None of a file without one.
        holder: the file, for messages.

    Raises:
        ConfigError: a backbone that cannot be built.
        RunError: the frozen backbone is not there, or is another one.
    """
    built = build_backbone(backbone, image_size=image_size, seed=0)
    if isinstance(adapter, NoAdapter):
        return built
    wanted = f"the backbone that the adapter in {holder} was trained on, of digest {identity}: {_named(backbone)}"
    try:
        source = load_pretrained(built, backbone)
    except (ConfigError, DataError) as error:
        raise RunError(
            wanted, error.found, "put its weights there, or a link to them: the file holds adapter and head alone"
        ) from error
    adapt(built, adapter, classes=classes, seed=0)
    if built.identity != identity:
        raise RunError(
            wanted,
            f"{source}: digest {built.identity}",
            "give back the weights that were there: the file holds adapter and head alone",
        )
    return built


def _named(backbone: Backbone) -> str:
    """Which one that is, by the keys of its configuration."""
    keys = ("model", "tag", "weights")
    return ", ".join(f"{key}={getattr(backbone, key)}" for key in keys if hasattr(backbone, key))
