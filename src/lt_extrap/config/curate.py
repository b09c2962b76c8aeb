"""What `python -m lt_extrap.curate` does."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of
from lt_extrap.config.curate_download import Download
from lt_extrap.config.curate_filter import FILTER_OPTIONS
from lt_extrap.config.curate_proposer import (
    FileNeighbors,
    LLMNeighbors,
    Names,
    RandomClasses,
    TaxonomyNeighbors,
    WordNetNeighbors,
)
from lt_extrap.config.curate_source import (
    BraveSource,
    CaptionSource,
    CommonsSource,
    FolderSource,
    INaturalistSource,
    OpenverseSource,
)

SHARED = ("targets", "neighbors", "candidates", "images")  # which machines can share, by classes
STAGES = (*SHARED, "features", "copies", "selection", "export")
ORDERS = ("run", *STAGES, "status", "retry", "verify", "forget", "gallery", "review", "merge", "restore")


@dataclass
class Forgotten:
    """Images that are removed for good: all that one of these is said of.

    Attributes:
        url: of the image, as the source has it.
        creator: as the source names them.
        sha256: of the stored file.
    """

    url: str | None = None
    creator: str | None = None
    sha256: str | None = None


@dataclass
class CurateConfig:
    """From class names to an auxiliary set.

    Attributes:
        do: `run` = all stages; one of them, which wants those before it done; `status`; `retry` = what failed for a
            reason in `errors` is to be done again, then all stages; `verify` = look whether all that is stored is as it
            was written; `forget` = remove what `forget` names, everywhere and for good; `gallery` = write pages to look
            at it by; `review` = take in the verdicts that `review` names, then all stages; `merge` = take in what all
            shards have, then all stages; `restore` = download the images of the set that `restore` names.
        what: `neighbors` = auxiliary classes; `target` = further images of the target classes themselves; or `both`.
        folder: of the state, the stored images and features, and the sets.
        target: the data set; its validation and test images are what no image may be a copy of.
        proposer: who names neighbors.
        names: what is known of names, and which are no neighbors.
        source: where images come from.
        download: how images of the web are downloaded.
        features: what compares images.
        filter: which images are kept.
        neighbors_per_class, sampling_ratio, scale: how many neighbors are proposed for a class, as in training: for the
            largest numbers that are to be swept, since training keeps the first.
        extra_shots: the groups of target classes of which further images are wanted.
        candidates_per_class: most images of a class that are looked at.
        enough: of images with addresses of the web: stored images of a class after which the rest of its candidates is
            not downloaded; null = twice `images_per_class`.
        images_per_class: most images of a class that are kept, drawn from `seed`.
        seed: of that draw.
        longest_edge: pixels; larger images are stored smaller, as JPEG; null = as large as they are.
        workers: processes that read and decode; 0 = this one; null = one a core.
        errors: of `retry`: reasons, as `status` names them; null = all.
        forget: of `forget`: what is removed.
        review: of `review`: a file of verdicts, as the pages of the gallery save it.
        restore: of `restore`: somebody's set, with its manifest, classes and pairs; images are not needed.
        shard: 0..shards-1: do the stages up to `images` for this part of the classes, in a folder of its own.
        shards: parts, one a machine; of `merge`: how many there are.
    """

    do: str = "run"
    what: str = "neighbors"
    folder: str = MISSING
    target: Any = MISSING
    proposer: Any = MISSING
    names: Names = field(default_factory=Names)
    source: Any = MISSING
    download: Download = field(default_factory=Download)
    features: Any = MISSING
    filter: Any = MISSING
    neighbors_per_class: int = 5
    sampling_ratio: list[float] | None = None
    scale: str = "base"
    extra_shots: list[str] = field(default_factory=lambda: ["medium", "few"])
    candidates_per_class: int = 200
    images_per_class: int = 50
    enough: int | None = None
    seed: int = 0
    longest_edge: int | None = 512
    workers: int | None = None
    errors: list[str] | None = None
    forget: Forgotten = field(default_factory=Forgotten)
    review: str | None = None
    restore: str | None = None
    shard: int | None = None
    shards: int = 1

    def __post_init__(self) -> None:
        one_of("do", self.do, ORDERS)
        one_of("what", self.what, ("neighbors", "target", "both"))
        check(self.neighbors_per_class >= 1, "neighbors_per_class", "at least 1", self.neighbors_per_class)
        ratio = self.sampling_ratio
        check(
            ratio is None or (len(ratio) == 3 and min(ratio) >= 0 and 0 < max(ratio) < float("inf")),
            "sampling_ratio",
            "three numbers [many, medium, few], none negative, not all 0",
            ratio,
        )
        one_of("scale", self.scale, ("base", "largest"))
        for shot in self.extra_shots:
            one_of("extra_shots", shot, ("many", "medium", "few"))
        for key in ("candidates_per_class", "images_per_class"):
            check(getattr(self, key) >= 1, key, "at least 1", getattr(self, key))
        check(self.enough is None or self.enough >= 1, "enough", "at least 1, or null", self.enough)
        check(0 <= self.seed < 2**63, "seed", "in 0..2**63-1", self.seed)
        edge = self.longest_edge
        check(edge is None or edge >= 64, "longest_edge", "at least 64, or null", edge)
        check(self.workers is None or self.workers >= 0, "workers", "at least 0, or null", self.workers)
        check(self.errors is None or self.do == "retry", "errors", "null without do=retry", self.errors)
        named = any(vars(self.forget).values())
        keys = "forget.url, forget.creator or forget.sha256"
        check(named == (self.do == "forget"), keys, "given with do=forget, and only there", vars(self.forget))
        check(
            (self.review is None) == (self.do != "review"),
            "review",
            "a file of verdicts, such as verdicts.json, with do=review and only there",
            self.review,
        )
        check((self.restore is None) == (self.do != "restore"), "restore", "a set, for do=restore alone", self.restore)
        check(self.shards >= 1, "shards", "at least 1", self.shards)
        check(self.shard is None or 0 <= self.shard < self.shards, "shard", "in 0..shards-1, or null", self.shard)
        if self.shard is not None:
            one_of("do, with shard=", self.do, ("run", *SHARED, "status", "retry", "verify"))
        elif self.do == "merge":
            check(self.shards > 1, "shards", "how many there are to merge", self.shards)
        else:
            check(self.shards == 1, "shards", "1 without shard= or do=merge", self.shards)


# Every class that a group of conf/ can be, by the name that its option files start from.
CURATE_OPTIONS: dict[str, dict[str, type]] = {
    "proposer": {
        "wordnet": WordNetNeighbors,
        "taxonomy": TaxonomyNeighbors,
        "file": FileNeighbors,
        "llm": LLMNeighbors,
        "random": RandomClasses,
    },
    "source": {
        "folders": FolderSource,
        "captions": CaptionSource,
        "commons": CommonsSource,
        "openverse": OpenverseSource,
        "brave": BraveSource,
        "inaturalist": INaturalistSource,
    },
    **FILTER_OPTIONS,
}
