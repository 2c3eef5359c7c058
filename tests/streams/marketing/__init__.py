"""Messages that are due, and what keeps them back."""
