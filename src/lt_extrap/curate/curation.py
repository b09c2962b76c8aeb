"""A curation under way: what it is to do, what it has, and how it is told to stop."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_extrap.config.curate import CurateConfig
from lt_extrap.config.curate_download import Download
from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.curate.name_rules import NameRules, read_forbidden
from lt_extrap.curate.records import Sought, Source, TargetClass
from lt_extrap.curate.sources import open_source
from lt_extrap.curate.state import State
from lt_extrap.curate.web.download import Downloader
from lt_extrap.curate.wordnet import WordNet, find_wordnet, read_wordnet
from lt_extrap.data.target import TargetSet, load_target
from lt_extrap.machine import cores
from lt_extrap.model.shots import Shot
from lt_extrap.signals import StopSignal

if TYPE_CHECKING:
    from lt_extrap.curate.features import Extractor
    from lt_extrap.curate.near_synonyms import NearSynonyms

IMAGES, FEATURES, GALLERY, SET = "images", "features", "gallery", "set"
TARGET = "target:"  # the beginning of the key of a target class of which further images are wanted


@dataclass
class Curation:
    """What every stage is given.

    Attributes:
        config: of the command.
        folder: of the curation.
        state: its tables.
        stop: asked after each transaction.
        downloader: makes what fetches images from the web.
    """

    config: CurateConfig
    folder: Path
    state: State
    stop: StopSignal
    downloader: Callable[[Download], Downloader] = Downloader

    @cached_property
    def source(self) -> Source:
        """Where images come from."""
        return open_source(self.config.source, self.config.download.contact)

    @property
    def source_id(self) -> str:
        """What tells the source from another one: its kind and its options."""
        options = json.dumps(dataclasses.asdict(self.config.source), sort_keys=True)
        return f"{self.source.name}-{hashlib.sha256(options.encode()).hexdigest()[:8]}"

    @cached_property
    def extractor(self) -> "Extractor":
        """What turns images into features, with its weights."""
        from lt_extrap.curate.features import load_extractor  # torch, whose seconds most commands need not wait

        return load_extractor(self.config.features)

    @cached_property
    def target(self) -> TargetSet:
        """The target set, with its images."""
        return load_target(self.config.target)

    @cached_property
    def wordnet(self) -> WordNet | None:
        """WordNet; None where the user did without."""
        names = self.config.names
        return read_wordnet(find_wordnet(names.wordnet)) if names.use_wordnet else None

    @property
    def described(self) -> Path | None:
        """What the user knows of the target classes."""
        return Path(self.config.names.classes).expanduser() if self.config.names.classes else None

    def rules(self, targets: Sequence[TargetClass]) -> NameRules:
        """Which names are no neighbors of these targets."""
        names = self.config.names
        return NameRules(
            targets,
            self.wordnet,
            keep_hyponyms=names.keep_hyponyms,
            keep_persons=names.keep_persons,
            forbidden=read_forbidden(Path(names.forbidden).expanduser()) if names.forbidden else (),
            near_synonyms=self._near_synonyms(targets),
        )

    def _near_synonyms(self, targets: Sequence[TargetClass]) -> "NearSynonyms | None":
        """What finds near-synonyms, where names are a language model's and WordNet does not tell."""
        options = self.config.proposer
        if self.config.names.use_wordnet or not isinstance(options, LLMNeighbors) or options.encoder is None:
            return None
        from lt_extrap.curate.near_synonyms import NearSynonyms, TextEncoder  # torch, as above

        return NearSynonyms(targets, TextEncoder(options.encoder), options.near_synonym)

    @property
    def workers(self) -> int:
        """Processes that read and decode."""
        return cores(1) if self.config.workers is None else self.config.workers

    def targets(self) -> list[TargetClass]:
        """The target classes, as the stage `targets` has written them."""
        return [
            TargetClass(label, id, name, tuple(json.loads(spellings)), wnid, gloss, images, Shot(shot))
            for label, id, name, spellings, wnid, gloss, images, shot in self.state.rows(
                "SELECT label, id, name, spellings, wnid, gloss, images, shot FROM target ORDER BY label"
            )
        ]

    def sought(self) -> list[Sought]:
        """The classes whose images are looked for now, by key."""
        return [
            Sought(key, name, tuple(json.loads(spellings)), wnid, gloss, query, proposer)
            for key, name, spellings, wnid, gloss, query, proposer in self.state.rows(
                "SELECT key, name, spellings, wnid, gloss, query, proposer FROM sought WHERE used ORDER BY key"
            )
        ]

    def kept(self, rows: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
        """Rows in blocks, each of which is one transaction; between two of them the command may be stopped."""
        for start in range(0, len(rows), size):
            with self.state.transaction():
                yield rows[start : start + size]
            self.stop.answer()
