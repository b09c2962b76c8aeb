"""Who names neighbors: WordNet, a taxonomy, a file, or chance."""
