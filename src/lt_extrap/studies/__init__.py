"""Questions about the method beyond one run, each a command of its own."""
