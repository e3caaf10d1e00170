"""The portable API."""
