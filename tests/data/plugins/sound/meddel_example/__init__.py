"""A package that adds a selector, a reader and an encoder to meddel_fast."""
