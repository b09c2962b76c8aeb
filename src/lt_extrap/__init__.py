"""Long-tail image recognition by category extrapolation (Zhao et al., arXiv 2410.15980)."""
