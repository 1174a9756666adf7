"""The operations of KVK as data: paths, parameters, and codes of what is wrong or missing (KVK reference, section 1)."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filingd.sandbox.kvk.settings import Base, KvkProduct

PREFIXES: dict[Base, str] = {"api": "/api", "test": "/test/api"}
COMPANY_NUMBER, BRANCH_NUMBER = re.compile(r"[0-9]{8}"), re.compile(r"[0-9]{12}")


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One GET. `number` is the shape of the number in its path; `not_found` and `malformed` are IPD codes."""

    name: str
    product: KvkProduct
    path: str  # after the base, up to the number
    after: str = ""  # behind the number
    number: re.Pattern[str] | None = COMPANY_NUMBER
    parameters: frozenset[str] = frozenset({"geoData"})
    not_found: str = "IPD0005"
    malformed: str = "IPD0004"

    @property
    def is_paid(self) -> bool:
        """Whether each call costs; Zoeken alone is free."""
        return self.product != "zoeken"

    def match(self, path: str) -> str | None:
        """The number in a path (empty for Zoeken), or None if it is another operation's."""
        if self.number is None:
            return "" if path == self.path else None
        if not path.startswith(self.path) or not path.endswith(self.after):
            return None
        number = path[len(self.path) : len(path) - len(self.after)]
        return number if number and "/" not in number else None


SEARCH_PARAMETERS = (
    "kvkNummer", "rsin", "vestigingsnummer", "naam", "straatnaam", "huisnummer", "huisletter", "postcode",
    "postbusnummer", "plaats", "type", "inclusiefInactieveRegistraties", "pagina", "resultatenPerPagina",
)  # fmt: skip
_PROFILE = "/v1/basisprofielen/"

OPERATIONS = (
    Operation("zoeken", "zoeken", "/v2/zoeken", number=None, parameters=frozenset(SEARCH_PARAMETERS), not_found="IPD5200"),
    Operation("basisprofiel", "basisprofiel", _PROFILE),
    Operation("eigenaar", "basisprofiel", _PROFILE, "/eigenaar"),
    Operation("hoofdvestiging", "basisprofiel", _PROFILE, "/hoofdvestiging"),
    Operation("vestigingen", "basisprofiel", _PROFILE, "/vestigingen", parameters=frozenset()),
    Operation(
        "vestigingsprofiel", "vestigingsprofiel", "/v1/vestigingsprofielen/", number=BRANCH_NUMBER,
        not_found="IPD0007", malformed="IPD0006",
    ),
    Operation("naamgeving", "naamgeving", "/v1/naamgevingen/kvknummer/", parameters=frozenset()),
)  # fmt: skip


def operation_of(path: str) -> tuple[Operation, str] | None:
    """The operation and the number of a path after its base."""
    for operation in OPERATIONS:
        number = operation.match(path)
        if number is not None:
            return operation, number
    return None
