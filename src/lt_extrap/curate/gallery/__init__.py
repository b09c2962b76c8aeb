"""A curation to look at: pages of HTML that a browser opens from the disk, without a server."""
