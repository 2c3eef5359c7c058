"""Mappings: what a line of a known data set or of a shop's own export means. The table of them is closed."""
