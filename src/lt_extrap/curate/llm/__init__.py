"""Questions to language models: asked over HTTP, paid once, read with suspicion."""
