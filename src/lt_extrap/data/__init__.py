"""Lists -> target and auxiliary classes -> the training set -> batches."""
