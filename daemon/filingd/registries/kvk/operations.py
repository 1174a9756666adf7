"""Products and paths of KVK, as data (KVK reference, section 1). A configuration may replace any path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_HEADER = "apikey"  # section 3
# What KVK prints for everybody; the test environment takes it, and nothing else does (section 3).
PUBLIC_TEST_KEY = "l7xx1f2691f2520d487b902f4e0b57a0b197"
API_VERSION_HEADER = "api-version"
ACCEPT = "application/json"

# Products: what a key opens, and what a price and a lane are for.
ZOEKEN = "zoeken"
BASISPROFIEL = "basisprofiel"
VESTIGINGSPROFIEL = "vestigingsprofiel"
NAAMGEVING = "naamgeving"
PRODUCTS = (ZOEKEN, BASISPROFIEL, VESTIGINGSPROFIEL, NAAMGEVING)
FREE_PRODUCTS = frozenset({ZOEKEN})

# Parts: what is asked about a number. Each is the last part of an item key.
EIGENAAR = "eigenaar"
HOOFDVESTIGING = "hoofdvestiging"
VESTIGINGEN = "vestigingen"
PARTS_OF_COMPANY = (BASISPROFIEL, EIGENAAR, HOOFDVESTIGING, NAAMGEVING, VESTIGINGEN)
PARTS = (*PARTS_OF_COMPANY, VESTIGINGSPROFIEL)  # those an operator chooses from
PRODUCT_OF_PART: Mapping[str, str] = {
    BASISPROFIEL: BASISPROFIEL,
    EIGENAAR: BASISPROFIEL,
    HOOFDVESTIGING: BASISPROFIEL,
    VESTIGINGEN: BASISPROFIEL,
    NAAMGEVING: NAAMGEVING,
    VESTIGINGSPROFIEL: VESTIGINGSPROFIEL,
    ZOEKEN: ZOEKEN,
}
PARTS_WITH_GEO_DATA = frozenset({BASISPROFIEL, EIGENAAR, HOOFDVESTIGING, VESTIGINGSPROFIEL})
GEO_DATA = "geoData"

# By part; `{number}` is the number it is asked for by.
DEFAULT_PATHS: Mapping[str, str] = {
    ZOEKEN: "/v2/zoeken",
    BASISPROFIEL: "/v1/basisprofielen/{number}",
    EIGENAAR: "/v1/basisprofielen/{number}/eigenaar",
    HOOFDVESTIGING: "/v1/basisprofielen/{number}/hoofdvestiging",
    VESTIGINGEN: "/v1/basisprofielen/{number}/vestigingen",
    VESTIGINGSPROFIEL: "/v1/vestigingsprofielen/{number}",
    NAAMGEVING: "/v1/naamgevingen/kvknummer/{number}",
}
