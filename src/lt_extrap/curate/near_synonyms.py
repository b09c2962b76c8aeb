"""Names that mean nearly the same, by the features of a text encoder: for where no WordNet tells synonyms."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lt_extrap.curate.records import TargetClass
from lt_extrap.errors import ConfigError

_BATCH = 64
Encoder = Callable[[Sequence[str]], Float[Tensor, "name dim"]]  # features of texts, each of length 1


class TextEncoder:
    """A model of `transformers`: the mean of the features of a text's tokens.

    Args:
        model: its name on a hub, which is looked for in the cache first, or a folder.

    Raises:
        ConfigError: transformers is not installed, or there is no such model.
    """

    def __init__(self, model: str) -> None:
        try:
            from transformers import AutoModel, AutoTokenizer
        except ModuleNotFoundError as error:
            raise ConfigError(
                "the package of a text encoder, which finds near-synonyms without WordNet",
                str(error),
                "pip install 'lt-extrap[encoder]', or set names.use_wordnet=true, or proposer.encoder=null",
            ) from error
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model)
            self._model = AutoModel.from_pretrained(model, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            raise ConfigError(
                "a text encoder of a hub, or a folder with one",
                f"{model}: {str(error).splitlines()[0]:.200}",
                "give proposer.encoder=<folder>, or proposer.encoder=null to look for no near-synonyms",
            ) from error

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "name dim"]:
        """Features, each of length 1."""
        found = []
        for start in range(0, len(texts), _BATCH):
            batch = self._tokenizer(list(texts[start : start + _BATCH]), padding=True, return_tensors="pt")
            weight = batch["attention_mask"].unsqueeze(-1).float()
            mean = (self._model(**batch).last_hidden_state * weight).sum(1) / weight.sum(1)
            found.append(torch.nn.functional.normalize(mean, dim=1))
        return torch.cat(found)


class NearSynonyms:
    """Which target has a name that means nearly the same.

    Args:
        targets: all classes of the target set.
        encoder: turns names into features.
        cosine: from which on two names mean nearly the same.
    """

    def __init__(self, targets: Sequence[TargetClass], encoder: Encoder, cosine: float) -> None:
        names = [(name, target.label) for target in targets for name in target.spellings]
        self._labels = torch.tensor([label for _, label in names])
        self._features = encoder([name for name, _ in names])
        self._encoder, self._cosine = encoder, cosine

    def __call__(self, name: str) -> int | None:
        """The label of the target whose name is nearest, if that is near enough."""
        cosines = self._features @ self._encoder([name])[0]
        nearest = int(cosines.argmax())
        return int(self._labels[nearest]) if cosines[nearest] >= self._cosine else None
