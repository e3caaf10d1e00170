# Generated from __init__.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The cases, by subject; the numbers are those of the design."""

from infra_testing.conformance.storage._sync.suite import StorageConformance as StorageConformance
