"""How fields are compared, and the models of annual accounts (NBB reference, sections 7.1, 7.2 and 15.3) as data. Models that are
not in the table are told, and stored all the same."""

from __future__ import annotations

# By the first part of a model type such as `m02-f-p`. Standard models: full, abbreviated, micro.
STANDARD = frozenset({"m02", "m01", "m07", "m82", "m81", "m87", "m05", "m04", "m08"})
CONSOLIDATED = frozenset({"m120", "m121", "m122", "m123"})
# Banks, insurers, foreign companies, various, or no accounts at all.
OTHER = frozenset(
    {
        *("m111", "m112", "m113", "m114", "m211", "m212", "m213", "m214"),
        *("m130", "m230", "m231", "m240", "m90", "m91", "m92", "m100", "m101", "m900"),
        *(f"m14{digit}" for digit in range(10)),
    }
)
KNOWN_MODELS = STANDARD | CONSOLIDATED | OTHER


def model_of(model_type: str) -> str:
    """The model in a model type, in small letters: `m02` of `m02-f-p`."""
    return model_type.partition("-")[0].lower()


def folded(key: str) -> str:
    """A key without case and underscores."""
    return key.replace("_", "").lower()
