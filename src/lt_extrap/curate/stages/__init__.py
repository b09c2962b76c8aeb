"""The stages of a curation, in their order; each does what is to be done, and nothing where all is done."""
