"""Replay: the same pipeline over the same log into a namespace of its own; compared, promoted, dropped."""
