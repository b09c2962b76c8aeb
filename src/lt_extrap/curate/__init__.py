"""From class names to an auxiliary set that can be trusted: neighbors, images, filters."""
