"""Encoders, their pre-training, and the tasks that they are measured by."""
