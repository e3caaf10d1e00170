"""The whole suite on moto, which checks conditions. What it does not check, signatures, is tried on rclone's server."""

from __future__ import annotations

import pytest

from infra_testing.conformance.storage import AsyncStorageConformance, StorageConformance
from infra_testing.harness import Harness


class OnServer:
    """A bucket of its own for each test."""

    @pytest.fixture(autouse=True)
    def bucket_of_its_own(self, server, features, make_bucket):
        settings, self.client = make_bucket(server, **features)
        self.harness = Harness("s3", settings)

    @pytest.fixture
    def place(self, place):
        return place

    def leftover_parts(self, bucket):
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=bucket.settings.bucket).get("Uploads", [])]


class OnMoto(OnServer):
    repeated_etags = True
    memory_limit = (8 << 20) * 5 + (20 << 20)  # parts of one upload, the one that is filled, and what else a stream takes
    large_size = 20 << 20

    @pytest.fixture
    def server(self, moto_server):
        return moto_server

    @pytest.fixture
    def features(self):
        return {"conditional_writes": True, "signed_urls": False}


class TestMoto(OnMoto, StorageConformance):
    def everything(self, bucket):
        return super().everything(bucket) + self.leftover_parts(bucket)


class TestAsyncMoto(OnMoto, AsyncStorageConformance):
    async def everything(self, bucket):
        return await super().everything(bucket) + self.leftover_parts(bucket)
