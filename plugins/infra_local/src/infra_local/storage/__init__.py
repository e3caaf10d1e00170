"""The embedded storage providers."""
