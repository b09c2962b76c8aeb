"""Where the bytes of images come from: a folder, a packed folder, or one of both behind a URL."""

from lt_extrap.data.store.folder import Folder
from lt_extrap.data.store.image_store import Beside, ImageStore, Stamp
from lt_extrap.data.store.packed import Packed, open_store
from lt_extrap.data.store.remote import RemoteFolder, is_url

__all__ = ["Beside", "Folder", "ImageStore", "Packed", "RemoteFolder", "Stamp", "is_url", "open_store"]
