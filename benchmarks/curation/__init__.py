"""Curation on real photographs of which everything is known: a pool is planted, curated, and scored."""
