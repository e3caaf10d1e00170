from collections.abc import Sequence

from infra.kernel.hookspecs import hookspec
from infra.plugin import Provider


@hookspec
def infra_clock() -> Sequence[Provider]:
    """The clock providers of a plugin."""
