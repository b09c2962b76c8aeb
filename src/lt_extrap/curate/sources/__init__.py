"""Where images come from: pools of class folders, tables of captions, and services on the web."""

from lt_extrap.config.curate_source import (
    BraveSource,
    CaptionSource,
    CommonsSource,
    FolderSource,
    INaturalistSource,
    OpenverseSource,
)
from lt_extrap.curate.records import Source
from lt_extrap.curate.sources.brave import Brave
from lt_extrap.curate.sources.captions import Captions
from lt_extrap.curate.sources.commons import Commons
from lt_extrap.curate.sources.folders import Folders
from lt_extrap.curate.sources.inaturalist import INaturalist
from lt_extrap.curate.sources.openverse import Openverse

AnySource = FolderSource | CaptionSource | CommonsSource | OpenverseSource | BraveSource | INaturalistSource


def open_source(config: AnySource, contact: str | None = None) -> Source:
    """The source of the node `source`. One on the web is asked nothing yet.

    Args:
        config: of the source.
        contact: `download.contact`, which services on the web are told.

    Raises:
        DataError: it is not there, or is not what it should be.
    """
    match config:
        case FolderSource():
            return Folders(config)
        case CaptionSource():
            return Captions(config)
        case CommonsSource():
            return Commons(config, contact)
        case OpenverseSource():
            return Openverse(config, contact)
        case BraveSource():
            return Brave(config, contact)
        case INaturalistSource():
            return INaturalist(config, contact)
