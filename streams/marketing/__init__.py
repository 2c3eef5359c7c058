"""Messages to shoppers.

When they are due, what they say, and the record that marketing automation consumes.
"""
