"""The torch engine: torchdiffeq as it is."""
