"""The stages of a run: keys, records, resuming, and what each of them does."""
