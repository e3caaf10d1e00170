"""What every provider of every capability must do."""

from infra_testing.conformance.base._async import AsyncConformance as AsyncConformance
from infra_testing.conformance.base._sync import Conformance as Conformance
