"""When does it help? What can be said of a target set before anything is trained on it."""
