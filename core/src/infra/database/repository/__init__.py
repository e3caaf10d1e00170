"""Repositories: the queries that every model needs."""

from infra.database.repository._async import AsyncRepository as AsyncRepository
from infra.database.repository._sync import Repository as Repository
from infra.database.repository.errors import InvalidCursorError as InvalidCursorError
from infra.database.repository.errors import InvalidFilterError as InvalidFilterError
from infra.database.repository.errors import RowNotFoundError as RowNotFoundError
from infra.database.repository.errors import StaleVersionError as StaleVersionError
from infra.database.repository.errors import UniqueKeyError as UniqueKeyError
from infra.database.repository.errors import UnknownFieldError as UnknownFieldError
from infra.database.repository.filters import OPERATORS as OPERATORS
from infra.database.repository.model import UNSET as UNSET
from infra.database.repository.model import Page as Page
from infra.database.repository.model import Sort as Sort
from infra.database.repository.model import Unset as Unset
