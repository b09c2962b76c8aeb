"""Studies of the paper as commands: `python -m lt_extrap.studies.<name>`."""
