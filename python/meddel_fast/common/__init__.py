"""What every room uses, and no room is needed for."""
