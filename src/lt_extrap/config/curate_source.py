"""The node `source`: where curation looks for images, without a network."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of

CAPTION_FIELDS = (
    "path",
    "url",
    "caption",
    "title",
    "page",
    "creator",
    "licence",
    "licence_url",
    "nsfw",
    "punsafe",
)


@dataclass
class FolderSource:
    """A pool of class folders or of tars.

    Attributes:
        root: a folder of class folders; a folder of tars, one a class; a tar of class folders, or a folder in one
            (pool.tar/train).
        captions: a table (CSV, TSV, JSON lines, parquet) with columns `path`, from the root, and `caption`, in the pool
            or beside its tar; null = the name of its class is what is said of an image.
    """

    root: str = MISSING
    captions: str | None = None


@dataclass
class CaptionSource:
    """Tables of captions: image-text data sets, with URLs or with paths of images.

    Attributes:
        files: tables (CSV, TSV, JSON lines, parquet), or folders of them.
        root: where the paths of images start, and which none may leave; null = the folder of the files.
        columns: of `path`, `url`, `caption`, `title`, `page`, `creator`, `licence`, `licence_url`, `nsfw` and
            `punsafe`, the column that has it; those left out have one of the usual names.
        header: names of the columns, for CSV and TSV files whose first line is a row; null = the first line has them.
    """

    files: list[str] = MISSING
    root: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    header: list[str] | None = None

    def __post_init__(self) -> None:
        check(len(self.files) > 0, "source.files", "at least one table, or a folder of them", self.files)
        for key in self.columns:
            one_of("source.columns", key, CAPTION_FIELDS)
        header = self.header
        check(
            header is None or (0 < len(header) == len(set(header))),
            "source.header",
            "the names of the columns, each once, or null",
            header,
        )
