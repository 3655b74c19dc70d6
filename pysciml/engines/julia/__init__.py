"""julia."""
