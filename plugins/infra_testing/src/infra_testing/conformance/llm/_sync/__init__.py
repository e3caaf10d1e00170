# Generated from __init__.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The suite, written by hand for asyncio; its blocking twin is generated."""
