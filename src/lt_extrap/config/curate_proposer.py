"""The nodes `proposer` and `names` of curation: who names auxiliary classes, and which names are none."""

import re
from dataclasses import dataclass

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of
from lt_extrap.errors import ConfigError

_KEYS = {"api.openai.com": "OPENAI_API_KEY", "api.anthropic.com": "ANTHROPIC_API_KEY"}


@dataclass
class Names:
    """What is known of names, and which are no auxiliary classes (docs/curating.md, Neighbors).

    Attributes:
        use_wordnet: look names up in WordNet 3.0: synonyms, hypernyms, hyponyms. false = compare names alone.
        wordnet: folder of its data.noun; null = $WNHOME, Debian's wordnet-base, NLTK's corpus.
        classes: a CSV that knows more of the target classes: id, and any of wnid, gloss, spellings (parted by "|").
        keep_hyponyms: also take kinds of a target class, whose images are target images.
        keep_persons: also take kinds of persons.
        forbidden: a file of names that no auxiliary class may have, one a line.
    """

    use_wordnet: bool = True
    wordnet: str | None = None
    classes: str | None = None
    keep_hyponyms: bool = False
    keep_persons: bool = False
    forbidden: str | None = None

    def __post_init__(self) -> None:
        check(self.use_wordnet or self.wordnet is None, "names.wordnet", "null without names.use_wordnet", self.wordnet)


@dataclass
class Proposing:
    """Who names auxiliary classes.

    Attributes:
        within: name only what the source has, such as the folders of ImageNet-21k.
    """

    within: bool = False


@dataclass
class WordNetNeighbors(Proposing):
    """Co-hyponyms by WordNet, the nearest level first.

    Attributes:
        levels: how many hypernyms up they are looked for: each level only where those below have too few.
        leaves: take only synsets without kinds of their own, so that no auxiliary class holds another.
    """

    levels: int = 4
    leaves: bool = True

    def __post_init__(self) -> None:
        check(1 <= self.levels <= 20, "proposer.levels", "in 1..20", self.levels)


@dataclass
class TaxonomyNeighbors(Proposing):
    """Species of the same genus, then family, then order.

    Attributes:
        file: what may be named, as iNaturalist's categories.json: name, genus, family, order.
        target_file: the species of the target set in this form; null = they are in `file` too.
    """

    file: str = MISSING
    target_file: str | None = None


@dataclass
class FileNeighbors(Proposing):
    """A list for each target class.

    Attributes:
        file: JSON {target: [name, ...]}, or CSV with the columns target, name and, if known, wnid and similarity.
    """

    file: str = MISSING


@dataclass
class LLMNeighbors(Proposing):
    """What a language model names, asked over HTTP (docs/curating.md, Language models).

    Attributes:
        protocol: `chat` = chat completions: OpenAI, vLLM, Ollama, llama.cpp, LM Studio; `messages` = Anthropic's.
        api: the address that `/chat/completions` or `/messages` is appended to; https wherever a key is sent.
        model: as the server calls it.
        key: the environment variable that has the key; null = OPENAI_API_KEY and ANTHROPIC_API_KEY for these two
            companies' own addresses, and none for any other.
        prompt: a file of conf/prompt/, by its name, or one of your own, by a path with a slash.
        avoid: most target classes that a question names as no answers.
        surplus: names that are asked for, by those that are wanted: the rules drop some.
        rounds: most times that a class is asked for: again, without the names that were given, while too few are left.
        temperature, seed: of the answers; null = the server's own. Another seed is another question to the cache.
        max_tokens: most tokens of an answer; null = the server's own limit, and 1,024 with `messages`, which wants one.
        max_tokens_field: how the server calls that: `max_tokens` or `max_completion_tokens`.
        concurrency: questions at a time.
        per_minute: most questions a minute; null = as fast as the server allows.
        seconds: of an answer, from the question to its last byte.
        most_tokens: of all questions and answers of this curation; null = no limit.
        most_cost: of them all, in the currency of the prices; null = no limit.
        price_in, price_out: of a million tokens of questions and of answers.
        encoder: what finds near-synonyms of target classes where WordNet is not used: a model of a hub or a folder;
            null = they are not looked for.
        near_synonym: cosine from which on two names are near-synonyms.
    """

    protocol: str = "chat"
    api: str = "https://api.openai.com/v1"
    model: str = MISSING
    key: str | None = None
    prompt: str = "structured"
    avoid: int = 20
    surplus: float = 1.6
    rounds: int = 3
    temperature: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_tokens_field: str = "max_tokens"
    concurrency: int = 8
    per_minute: float | None = None
    seconds: float = 120.0
    most_tokens: int | None = None
    most_cost: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    encoder: str | None = "sentence-transformers/all-MiniLM-L6-v2"
    near_synonym: float = 0.85

    def __post_init__(self) -> None:
        one_of("proposer.protocol", self.protocol, ("chat", "messages"))
        address = re.fullmatch(r"(https?)://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d+)?(/[\w./~-]*)?", self.api, re.ASCII)
        address = address if address and int((address[3] or ":0")[1:]) < 2**16 else None
        if address is None:
            raise _hidden("proposer.api", "an http(s) address without question mark or password")
        if self.key is not None and re.fullmatch("[A-Z_][A-Z0-9_]*", self.key) is None:
            raise _hidden("proposer.key", "the name of an environment variable, in capitals")
        check(
            self.key_variable is None or self.api.startswith("https") or _is_here(self.api),
            "proposer.api",
            "https, or http on this machine, where a key is sent: http is read by all that is between",
            self.api,
        )
        check(self.avoid >= 0, "proposer.avoid", "at least 0", self.avoid)
        check(1 <= self.surplus <= 10, "proposer.surplus", "in 1..10", self.surplus)
        check(1 <= self.rounds <= 10, "proposer.rounds", "in 1..10", self.rounds)
        check(
            self.temperature is None or 0 <= self.temperature <= 2,
            "proposer.temperature",
            "in 0..2, or null",
            self.temperature,
        )
        check(
            self.max_tokens is None or self.max_tokens >= 16,
            "proposer.max_tokens",
            "at least 16, or null",
            self.max_tokens,
        )
        one_of("proposer.max_tokens_field", self.max_tokens_field, ("max_tokens", "max_completion_tokens"))
        check(1 <= self.concurrency <= 64, "proposer.concurrency", "in 1..64", self.concurrency)
        for key in ("per_minute", "most_tokens", "most_cost"):
            value = getattr(self, key)
            check(value is None or 0 < value < float("inf"), f"proposer.{key}", "above 0, or null", value)
        check(0 < self.seconds <= 3600, "proposer.seconds", "above 0, at most 3600", self.seconds)
        prices = (self.price_in, self.price_out)
        check(
            all(price is None or 0 <= price < float("inf") for price in prices),
            "proposer.price_in, price_out",
            "at least 0",
            prices,
        )
        check(
            self.most_cost is None or None not in prices,
            "proposer.price_in, price_out",
            "given where most_cost is",
            prices,
        )
        check(0 < self.near_synonym <= 1, "proposer.near_synonym", "above 0, at most 1", self.near_synonym)
        fixed = self.protocol == "messages"
        check(not (fixed and self.seed is not None), "proposer.seed", "null: Anthropic's messages have none", self.seed)
        check(
            not fixed or self.max_tokens_field == "max_tokens",
            "proposer.max_tokens_field",
            "max_tokens with messages",
            self.max_tokens_field,
        )

    @property
    def key_variable(self) -> str | None:
        """The environment variable that has the key; None where none is sent."""
        if self.key is not None:
            return self.key
        return _KEYS.get(self.api.split("://")[1].split("/")[0].lower())


@dataclass
class RandomClasses(Proposing):
    """Classes drawn at random, less the targets, paired with none: the paper's control RD.

    Attributes:
        classes: how many; null = as many as neighbors are wanted for all targets.
        seed: of the draw.
        without: folder of an auxiliary set whose classes are not drawn, such as the neighbors that this is a control
            of: in a small pool chance finds those too. null = all but targets may be drawn.
    """

    classes: int | None = None
    seed: int = 0
    without: str | None = None

    def __post_init__(self) -> None:
        check(self.classes is None or self.classes >= 1, "proposer.classes", "at least 1, or null", self.classes)
        check(0 <= self.seed < 2**63, "proposer.seed", "in 0..2**63-1", self.seed)


def _hidden(key: str, wanted: str) -> ConfigError:
    """An error that does not show what it found."""
    return ConfigError(f"{key} to be {wanted}", "something else, not shown: it may be a secret", f"correct {key}")


def _is_here(address: str) -> bool:
    """Whether an address is of this machine."""
    return re.match(r"http://(localhost|127\.0\.0\.1|\[::1\])(:|/|$)", address) is not None
