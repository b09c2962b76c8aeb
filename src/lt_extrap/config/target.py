"""The node `target`: the long-tailed data set that is to be recognised."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of
from lt_extrap.errors import ConfigError


@dataclass
class AuxiliaryFiles:
    """Where an auxiliary set of a target lies, relative to the target's root: lists, or a folder.

    Attributes:
        folder: of a set as curation writes it, instead of train, names and pairs (docs/data.md, Auxiliary sets).
        images: where the paths of the folder's manifest start, a place as `target.images`; null = the folder itself,
            which no link may leave.
        train: list of images, `path auxiliary-id` a line, ids 0..K-1; null = there is no such set.
        names: class names: a text file, a name a line, or `file.json:key`.
        pairs: which auxiliary class is a neighbor of which target: JSON with `edges` (unranked pairs) or
            `ranks` (nearest first); null where the classes are nobody's neighbors.
        neighbors_per_class: k, the number of neighbors a target of ratio 1 keeps, nearest first; null = all pairs.
        samples_per_class: most images of an auxiliary class that an epoch shows.
    """

    folder: str | None = None
    images: str | None = None
    train: str | None = None
    names: str | None = None
    pairs: str | None = None
    neighbors_per_class: int | None = 5
    samples_per_class: int = 50

    def __post_init__(self) -> None:
        lists = self.lists()
        if self.folder is not None and lists:
            raise ConfigError(
                "an auxiliary set in a folder, or one in train, names and pairs",
                f"folder={self.folder} beside {', '.join(f'{key}={value}' for key, value in lists.items())}",
                "clear the other: " + " ".join(f"target.neighbors.{key}=null" for key in lists),
            )
        check(self.images is None or self.folder is not None, "images", "null without a folder", self.images)
        k = self.neighbors_per_class
        check(k is None or k >= 1, "neighbors_per_class", "at least 1, or null for all pairs", k)

    def lists(self) -> dict[str, str]:
        """Those files of a set in lists that are given, by key."""
        return {key: value for key in ("train", "names", "pairs") if (value := getattr(self, key)) is not None}


@dataclass
class Target:
    """The long-tailed data set that is to be recognised.

    Attributes:
        root: folder of the lists and images; null = `$LT_EXTRAP_DATA/<folder>`.
        folder: the data set's folder below `$LT_EXTRAP_DATA`.
        images: folder where the relative paths of the lists start, a packed folder, or a URL of either such as
            s3://bucket/folder; null = the root.
        archive: a tar of the images, unpacked once to the cache; null where images lie in a folder.
        train, val, test: list files, `path label` a line, or `.json` annotations. `val` null = nothing is selected,
            the last weights count.
        names: class names: a text file, a name a line, `file.json:key`, or a `file.json` that is a list; null = the
            labels themselves.
        ids_in_names: in a text file of names, the first word of a line is the id of the class, the rest its name.
        exclude: a file of paths, one a line, that are not trained on; `lt_extrap.check` writes one. Shots stay.
        samples_per_class: at most this many training images of a class, the first of its list; null = all. Shots stay.
        allow_empty: accept classes without training images (reported as `zero`, left out of the prior).
        neighbors, random: the auxiliary sets of this target. extra: a list of further target images.
        reshuffle: number of an exchange of the training counts among the classes, whose images come from `train` and
            `extra`; 0 = as listed.
        extra_per_class: images of `extra` that each medium and few class gets more, the first of the list; null =
            none. Shots stay.
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
    samples_per_class: int | None = None
    allow_empty: bool = False
    neighbors: AuxiliaryFiles = field(default_factory=AuxiliaryFiles)
    random: AuxiliaryFiles = field(default_factory=AuxiliaryFiles)
    extra: str | None = None
    reshuffle: int = 0
    extra_per_class: int | None = None

    def __post_init__(self) -> None:
        check(0 <= self.reshuffle < 2**63, "target.reshuffle", "in 0..2**63-1", self.reshuffle)
        n = self.extra_per_class
        check(n is None or n >= 1, "target.extra_per_class", "at least 1, or null", n)
        check(
            self.extra is not None or not self.takes_extra,
            "target.extra",
            "a list of further target images, from which target.reshuffle and target.extra_per_class take",
            self.extra,
        )
        check(
            self.archive is None or self.images is None,
            "target.images",
            "null with target.archive, in which the images are",
            self.images,
        )
        check(
            self.val is None or self.val != self.test,
            "target.val",
            "another list than target.test: nothing may be selected on what is reported",
            self.val,
        )
        check(
            self.samples_per_class is None or self.samples_per_class >= 1,
            "target.samples_per_class",
            "at least 1, or null for all",
            self.samples_per_class,
        )
        text = self.names is not None and not self.names.partition(":")[0].endswith(".json")
        check(text or not self.ids_in_names, "target.ids_in_names", "false without a text file of names", True)

    @property
    def takes_extra(self) -> bool:
        """Whether images of `extra` are among the training images."""
        return self.reshuffle > 0 or self.extra_per_class is not None


@dataclass
class Official:
    """What an official data set is known to be.

    Attributes:
        train, val, test: images of its lists; `val` null = it has no such list.
        classes: their number. many, medium, few: how many of them are in each group.
        largest, smallest: training images of the largest and the smallest class.
        counts: `lt_extrap.data.official.count_hash` of the training images of each class, in the order of the labels.
    """

    train: int = MISSING
    val: int | None = None
    test: int = MISSING
    classes: int = MISSING
    many: int = MISSING
    medium: int = MISSING
    few: int = MISSING
    largest: int = MISSING
    smallest: int = MISSING
    counts: str = MISSING


@dataclass
class OfficialTarget(Target):
    """A published data set, by the lists that everybody compares on.

    Attributes:
        package: the archives of images that its lists were made for; said where images are missing.
        names_by: which class a name of the names file is of: `label` = the file is in the order of the labels;
            `folder` = its id is the class folder of the training images.
        label_order: `official` = classes are numbered as in the lists; `name` = by their names as text, as LIFT does
            on iNaturalist 2018. All files keep the official labels.
        official: what is checked before anything is trained; null = lists of another content are taken.
    """

    package: str = MISSING
    names_by: str = "label"
    label_order: str = "official"
    official: Official | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("target.names_by", self.names_by, ("label", "folder"))
        one_of("target.label_order", self.label_order, ("official", "name"))


@dataclass
class EmbeddedTarget(Target):
    """The embedded world: images made on this machine, written once to the cache. It has no root.

    Attributes:
        world: fields of `lt_extrap.data.embedded.World`, which checks them.
    """

    world: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("root", "images", "archive"):
            value = getattr(self, key)
            check(value is None, f"target.{key}", "null: the embedded world is written to LT_EXTRAP_CACHE", value)


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


@dataclass
class FolderTarget(Target):
    """Images of one's own: a folder a class, ready splits, or a table. Their lists are made on this machine.

    Attributes:
        root: the folder, or that of the table and of auxiliary files where `images` or `archive` names another.
        val: null = no validation images are set apart, and those that a ready split has are not used.
        table: CSV, TSV, JSON lines or parquet with a row an image, relative to the root, as are its paths (or to
            `images`); null = a folder a class, or the `metadata.*` of a Hugging Face imagefolder if there is one.
        path_column, label_column: of the table; null = the one that has one of the usual names.
        split_column: of the table: train, val or test of each image; null = the splits are made.
        group_column: of the table: images of one group (camera, patient, site) stay in one split.
        val_fraction, test_fraction: share of each class that a split that is made gets, 0..1.
        split_seed: of the splits that are made; all seeds of a run share them.
    """

    root: str | None = MISSING
    train: str = "train.txt"
    val: str | None = "val.txt"
    test: str = "test.txt"
    names: str | None = "classes.json:target"
    table: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    val_fraction: float = 0.1
    test_fraction: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        made = "left alone: the lists are made here (target=lists takes lists)"
        check(self.reshuffle == 0, "target.reshuffle", f"0, or {made}", self.reshuffle)
        check(self.extra_per_class is None, "target.extra_per_class", f"null, or {made}", self.extra_per_class)
        check(self.train == "train.txt", "target.train", made, self.train)
        check(self.val in ("val.txt", None), "target.val", "null, or " + made, self.val)
        check(self.test == "test.txt", "target.test", made, self.test)
        check(self.names == "classes.json:target", "target.names", made, self.names)
        for key in ("val_fraction", "test_fraction"):
            off = "; target.val=null leaves it out" if key == "val_fraction" else ""
            check(0 < getattr(self, key) < 1, f"target.{key}", f"in 0 < fraction < 1{off}", getattr(self, key))
        both = (self.val_fraction, self.test_fraction)
        check(sum(both) < 1, "target.val_fraction and target.test_fraction", "less than 1 together", both)
        check(0 <= self.split_seed < 2**63, "target.split_seed", "in 0..2**63-1", self.split_seed)
