# Generated from __init__.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The asyncio suite, written by hand; one module a concern."""
