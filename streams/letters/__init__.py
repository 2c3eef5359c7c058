"""Dead letters as people work with them: reading them, what became of each, putting them back on the log."""
