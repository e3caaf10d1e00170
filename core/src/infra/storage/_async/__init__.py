"""The portable API."""

from infra.storage._async.bucket import AsyncBucket as AsyncBucket
from infra.storage._async.listing import AsyncListing as AsyncListing
from infra.storage._async.reading import AsyncObjectReader as AsyncObjectReader
from infra.storage._async.source import Data as Data
from infra.storage._async.writing import AsyncObjectWriter as AsyncObjectWriter
