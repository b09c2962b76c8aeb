"""Figures 2 and 6 of the paper: a confusing head/tail pair in feature space, and what tokens see in tail images."""
