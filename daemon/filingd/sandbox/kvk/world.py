"""What is KVK's own in a running sandbox: the registers of both bases, and what was granted under its limits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from filingd.sandbox.kvk.limits import MonthQuota, RateLimit
from filingd.sandbox.kvk.register import make_registers, population_of

if TYPE_CHECKING:
    from filingd.sandbox.kvk.register import Register
    from filingd.sandbox.kvk.seeded import Population
    from filingd.sandbox.kvk.settings import Base
    from filingd.sandbox.settings import SandboxSettings

KVK_KEYS = "kvk"  # the product under which its keys are held


@dataclasses.dataclass(slots=True)
class KvkWorld:
    """Registers and limits. The registers, and what happened to their companies, last until the population changes."""

    population: Population
    registers: dict[Base, Register]
    rate: RateLimit
    quota: MonthQuota

    def apply(self, settings: SandboxSettings) -> None:
        """Take new settings."""
        population = population_of(settings.kvk, settings.seed)
        if population != self.population:
            self.population, self.registers = population, make_registers(population)


def make_kvk_world(settings: SandboxSettings) -> KvkWorld:
    """A world at its beginning."""
    population = population_of(settings.kvk, settings.seed)
    return KvkWorld(population, make_registers(population), RateLimit(), MonthQuota())
