"""SDEs on the native engine: fixed and chosen steps along virtual Brownian trees."""
