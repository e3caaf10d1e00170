"""The asyncio suite, written by hand; one module a concern."""
