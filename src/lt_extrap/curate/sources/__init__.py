"""Where images come from: pools of class folders, and tables of captions."""
