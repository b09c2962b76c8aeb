"""What curation asks of the network."""
