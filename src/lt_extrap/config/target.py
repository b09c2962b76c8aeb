"""The node `target`: the long-tailed data set that is to be recognised."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from lt_extrap.config.checks import check


@dataclass
class AuxiliaryFiles:
    """Where an auxiliary set of a target lies, relative to the target's root.

    Attributes:
        train: list of images, `path auxiliary-id` a line, ids 0..K-1; null = there is no such set.
        names: class names: a text file, a name a line, or `file.json:key`.
        pairs: which auxiliary class is a neighbor of which target: JSON with `edges` (unranked pairs) or
            `ranks` (nearest first); null where the classes are nobody's neighbors.
        neighbors_per_class: k, the number of neighbors a target of ratio 1 keeps, nearest first; null = all pairs.
    """

    train: str | None = None
    names: str | None = None
    pairs: str | None = None
    neighbors_per_class: int | None = 5

    def __post_init__(self) -> None:
        k = self.neighbors_per_class
        check(k is None or k >= 1, "neighbors_per_class", "at least 1, or null for all pairs", k)


@dataclass
class Target:
    """The long-tailed data set that is to be recognised.

    Attributes:
        root: folder of the lists and images; null = `$LT_EXTRAP_DATA/<folder>`.
        folder: the data set's folder below `$LT_EXTRAP_DATA`.
        images: folder where the relative paths of the lists start; null = the root.
        archive: a tar of the images, unpacked once to the cache; null where images lie in a folder.
        train, val, test: list files, `path label` a line. `val` null = nothing is selected, the last weights count.
        names: class names: a text file, a name a line, or `file.json:key`; null = the labels themselves.
        ids_in_names: in a text file of names, the first word of a line is the id of the class, the rest its name.
        exclude: a file of paths, one a line, that are not trained on; `lt_extrap.check` writes one. Shots stay.
        allow_empty: accept classes without training images (reported as `zero`, left out of the prior).
        neighbors, random: the auxiliary sets of this target. extra: a list of further target images.
    """

    root: str | None = None
    folder: str = MISSING
    images: str | None = None
    archive: str | None = None
    train: str = MISSING
    val: str | None = None
    test: str = MISSING
    names: str | None = None
    ids_in_names: bool = False
    exclude: str | None = None
    allow_empty: bool = False
    neighbors: AuxiliaryFiles = field(default_factory=AuxiliaryFiles)
    random: AuxiliaryFiles = field(default_factory=AuxiliaryFiles)
    extra: str | None = None

    def __post_init__(self) -> None:
        check(
            self.archive is None or self.images is None,
            "target.images",
            "null with target.archive, in which the images are",
            self.images,
        )
        text = self.names is not None and ".json:" not in self.names
        check(text or not self.ids_in_names, "target.ids_in_names", "false without a text file of names", True)


@dataclass
class EmbeddedTarget(Target):
    """The embedded world: images made on this machine, written once to the cache; it has no root.

    Attributes:
        world: fields of `lt_extrap.data.embedded.World`, which checks them.
    """

    world: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.root is None, "target.root", "null: the embedded world is written to LT_EXTRAP_CACHE", self.root)


@dataclass
class CifarTarget(Target):
    """CIFAR-100 with an exponential long tail: images and lists are written once to the cache (data/cifar.py).

    Class i of C gets int(largest * imbalance ** (-i / (C - 1))) training images, largest = 500 - val_per_class: the
    profile of Cao et al. (2019). Which images those are is drawn from subset_seed.

    Attributes:
        root: folder of cifar-100-python.tar.gz, or where it is unpacked; null = `$LT_EXTRAP_DATA/<folder>`. It is not
            looked for once the images are in the cache.
        download: fetch the archive if it is not there (169 MB, from its authors' site); false = refuse.
        imbalance: images of the largest class for one of the smallest, 1..largest.
        auxiliary_per_superclass: of the 5 classes of each of the 20 superclasses, how many are auxiliary classes, the
            neighbors of the others; 0..4. The target classes have the data set's own order if 0, else a drawn one.
        val_per_class: training images of a target class that are kept for validation.
        subset_seed: of all that is drawn.
    """

    download: bool = True
    imbalance: float = 100.0
    auxiliary_per_superclass: int = 0
    val_per_class: int = 0
    subset_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("images", "archive"):
            value = getattr(self, key)
            check(value is None, f"target.{key}", "null: the images of CIFAR are written to LT_EXTRAP_CACHE", value)
        check(0 <= self.val_per_class < 500, "target.val_per_class", "in 0..499", self.val_per_class)
        check(
            self.val is None or self.val_per_class > 0,
            "target.val_per_class",
            "positive with a validation list (target.val)",
            self.val_per_class,
        )
        largest = 500 - self.val_per_class
        check(
            1 <= self.imbalance <= largest,
            "target.imbalance",
            f"in 1..{largest}, so that every class keeps an image",
            self.imbalance,
        )
        auxiliary = self.auxiliary_per_superclass
        check(0 <= auxiliary <= 4, "target.auxiliary_per_superclass", "in 0..4", auxiliary)
        check(0 <= self.subset_seed < 2**63, "target.subset_seed", "in 0..2**63-1", self.subset_seed)
