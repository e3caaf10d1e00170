"""The embedded cache providers."""
