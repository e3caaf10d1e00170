"""The cache provider."""
