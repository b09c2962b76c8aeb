"""The node `source`: where curation looks for images, on disk and on the web."""

import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of

LICENCES = ("cc0", "pdm", "by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd")
WIDTHS = (120, 250, 330, 500, 960, 1280, 1920, 3840)  # of thumbnails that Wikimedia serves

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


def _check_licences(licences: list[str] | None) -> None:
    for licence in licences or ():
        one_of("source.licences", licence, LICENCES)
    check(licences != [], "source.licences", "at least one licence, or null", licences)


@dataclass
class FolderSource:
    """A pool of class folders or of tars.

    Attributes:
        root: a folder of class folders; a folder of tars, one a class; a tar of class folders, or a folder in one
            (pool.tar/train); needed wherever images are looked for.
        captions: a table (CSV, TSV, JSON lines, parquet) with columns `path`, from the root, and `caption`, in the pool
            or beside its tar; null = the name of its class is what is said of an image.
    """

    root: str | None = None
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
        licences: of which an image has one, as of sources on the web; null = any, and what says none.
    """

    files: list[str] = MISSING
    root: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    header: list[str] | None = None
    licences: list[str] | None = None

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
        _check_licences(self.licences)


@dataclass
class WebSource:
    """What all sources on the web have.

    Attributes:
        api: the address of the API: https, or http on this machine.
        pages: most questions that are asked for a class.
        licences: of which an image has one (`cc0`, `pdm`, `by`, `by-sa`, `by-nc`, `by-nc-sa`, `by-nd`, `by-nc-nd`;
            `pdm` is all of the public domain); null = any, and what says none.
    """

    api: str = MISSING
    pages: int = 10
    licences: list[str] | None = None

    def __post_init__(self) -> None:
        here = r"http://(localhost|127\.0\.0\.1|\[::1\])"  # a key never goes in clear where others may read it
        holds = re.fullmatch(rf"(https://[\w.-]+|{here})(:\d+)?(/[\w./~-]*)?", self.api, re.ASCII) is not None
        check(holds, "source.api", "an https address without question mark; http only on this machine", self.api)
        check(self.pages >= 1, "source.pages", "at least 1", self.pages)
        _check_licences(self.licences)


@dataclass
class CommonsSource(WebSource):
    """Wikimedia Commons; needs `download.contact`.

    Attributes:
        width: of the thumbnails that are downloaded, pixels: one that Wikimedia serves.
    """

    api: str = "https://commons.wikimedia.org/w/api.php"
    width: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.width in WIDTHS, "source.width", f"one of {', '.join(map(str, WIDTHS))}", self.width)


@dataclass
class OpenverseSource(WebSource):
    """Openverse: 200 requests a day without a token, 10,000 with $OPENVERSE_TOKEN.

    Attributes:
        page_size: images a request; more than 20 need a token.
    """

    api: str = "https://api.openverse.org/v1"
    pages: int = 12
    page_size: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check(1 <= self.page_size <= 500, "source.page_size", "in 1..500", self.page_size)


@dataclass
class BraveSource(WebSource):
    """Brave's image search, which is paid; needs $BRAVE_API_KEY.

    Attributes:
        pages: 1: it has no further ones.
        licences: null: it tells none.
        language: of the pages where images are, two letters.
    """

    api: str = "https://api.search.brave.com/res/v1"
    pages: int = 1
    language: str = "en"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.pages == 1, "source.pages", "1: Brave has one page, of up to 200 images", self.pages)
        check(self.licences is None, "source.licences", "null: Brave tells no licences", self.licences)
        check(re.fullmatch("[a-z]{2}(-[a-z]+)?", self.language) is not None, "source.language", "as en", self.language)


@dataclass
class INaturalistSource(WebSource):
    """iNaturalist: photographs of species, of which those without a licence are never taken.

    Attributes:
        quality: of observations: `research` = others agree about the species; `any`.
    """

    api: str = "https://api.inaturalist.org/v1"
    pages: int = 5
    quality: str = "research"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("source.quality", self.quality, ("research", "any"))
        check(self.licences != ["pdm"], "source.licences", "also another one: iNaturalist has no pdm", self.licences)
