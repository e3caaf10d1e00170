# Generated from __init__.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The portable API."""

from infra.storage._sync.bucket import Bucket as Bucket
from infra.storage._sync.listing import Listing as Listing
from infra.storage._sync.reading import ObjectReader as ObjectReader
from infra.storage._sync.source import Data as Data
from infra.storage._sync.writing import ObjectWriter as ObjectWriter
