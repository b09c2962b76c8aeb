"""Where images come from: pools of class folders, and tables of captions."""

from lt_extrap.config.curate_source import CaptionSource, FolderSource
from lt_extrap.curate.records import Source
from lt_extrap.curate.sources.captions import Captions
from lt_extrap.curate.sources.folders import Folders


def open_source(config: FolderSource | CaptionSource) -> Source:
    """The source of the node `source`.

    Raises:
        DataError: it is not there, or is not what it should be.
    """
    return Folders(config) if isinstance(config, FolderSource) else Captions(config)
