"""Published weights of timm's models: a file of the hub or of its cache."""

from contextlib import suppress
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError

from lt_extrap.errors import ConfigError

# In this order: a safetensors file is no pickle, and older repositories have none.
_NAMES = ("model.safetensors", "pytorch_model.bin")


def hub_file(model: str) -> Path:
    """The file of the weights that timm names for a model; it is downloaded once, and found without a network then.

    Raises:
        ConfigError: timm names none, or there is neither a network nor a cached copy, or no access.
    """
    import timm  # seconds that other backbones need not wait

    known = timm.get_pretrained_cfg(model)
    if known is None or known.hf_hub_id is None:
        raise ConfigError(
            f"weights of {model} on the hub",
            "none: timm names no weights for it" if known is None or not known.url else f"some elsewhere, {known.url}",
            "set backbone.weights=<file>, or a backbone.model of timm.list_pretrained()",
        )
    place = known.hf_hub_id
    try:
        return cached_file(model) or _download(place, _names(known.hf_hub_filename))
    except GatedRepoError as error:
        raise ConfigError(
            f"the weights of {model}, from {place}",
            "a repository that is open only to those who were given access",
            f"ask for access at https://huggingface.co/{place} and run `hf auth login`; or set backbone.weights=<file>",
        ) from error
    except Exception as error:  # each release of the hub's client, and of the clients below it, raises its own
        raise ConfigError(
            f"the weights of {model}: from the hub or its cache, or a file",
            f"no cached copy of {place}, and the hub does not give it: {type(error).__name__}"
            + "".join(f", {line.strip()}" for line in str(error).splitlines()[:1]),
            f"run `hf download {place}` where there is a network and copy its cache ($HF_HOME/hub, or "
            "~/.cache/huggingface/hub) here; or set backbone.weights=<file>",
        ) from error


def cached_file(model: str) -> Path | None:
    """The file of those weights in the cache of the hub; None where it is not there, or timm names none."""
    import timm

    known = timm.get_pretrained_cfg(model)
    if known is None or known.hf_hub_id is None:
        return None
    repository, _, revision = known.hf_hub_id.partition("@")
    for name in _names(known.hf_hub_filename):
        # Without a question to the network, which may be slow to fail: weights under a name do not change.
        if isinstance(cached := try_to_load_from_cache(repository, name, revision=revision or None), str):
            return Path(cached)
    return None


def _names(only: str | None) -> tuple[str, ...]:
    return (only,) if only else _NAMES


def _download(place: str, names: tuple[str, ...]) -> Path:
    """The first of these files that the hub has."""
    repository, _, revision = place.partition("@")
    for name in names:
        with suppress(RemoteEntryNotFoundError):
            # Asked once: hf_hub_download asks six times, for 23 seconds, before it says that there is no network.
            get_hf_file_metadata(hf_hub_url(repository, name, revision=revision or None), timeout=5)
            return Path(hf_hub_download(repository, name, revision=revision or None))
    raise FileNotFoundError(f"neither {' nor '.join(names)} in it")
