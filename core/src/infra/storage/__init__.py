"""Object storage: one API for files, memory, S3 and the like."""

from infra.storage._async import AsyncBucket as AsyncBucket
from infra.storage._async import AsyncListing as AsyncListing
from infra.storage._async import AsyncObjectReader as AsyncObjectReader
from infra.storage._async import AsyncObjectWriter as AsyncObjectWriter
from infra.storage._sync import Bucket as Bucket
from infra.storage._sync import Listing as Listing
from infra.storage._sync import ObjectReader as ObjectReader
from infra.storage._sync import ObjectWriter as ObjectWriter
from infra.storage.errors import DeleteError as DeleteError
from infra.storage.errors import DigestMismatchError as DigestMismatchError
from infra.storage.errors import IntegrityError as IntegrityError
from infra.storage.errors import InvalidKeyError as InvalidKeyError
from infra.storage.errors import InvalidSignatureError as InvalidSignatureError
from infra.storage.errors import KeyConflictError as KeyConflictError
from infra.storage.errors import ObjectExistsError as ObjectExistsError
from infra.storage.errors import ObjectNotFoundError as ObjectNotFoundError
from infra.storage.errors import PreconditionFailedError as PreconditionFailedError
from infra.storage.errors import StorageError as StorageError
from infra.storage.model import ObjectInfo as ObjectInfo
from infra.storage.model import Page as Page
from infra.storage.model import PutOptions as PutOptions
from infra.storage.model import SignedRequest as SignedRequest
from infra.storage.model import SignedURL as SignedURL
from infra.storage.model import StorageFeature as StorageFeature
from infra.storage.model import StorageLimits as StorageLimits
