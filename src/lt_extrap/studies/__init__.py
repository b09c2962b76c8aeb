"""What runs have learnt, looked at: a command a study, `python -m lt_extrap.studies.<name>`."""
