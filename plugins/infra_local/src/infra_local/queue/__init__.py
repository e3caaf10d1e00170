"""The embedded queue providers."""
