"""`daogou demo`: a shop with a year behind it, a model, and one visit told step by step."""
