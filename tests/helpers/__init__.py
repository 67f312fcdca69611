"""What several test modules need: programs run as a user runs them, and folders that are filled once."""
