"""Images -> logits -> loss -> numbers. Knows no Lightning."""
