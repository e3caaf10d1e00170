"""The embedded database providers."""
