"""Images from the web: a downloader that can be let loose, and a client for the interfaces of image collections."""
