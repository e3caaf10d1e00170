"""The asyncio side, written by hand."""
