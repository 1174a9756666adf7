"""The three families of error bodies (NBB reference, section 5.2)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

MISSING_KEY = (
    "Access denied due to missing subscription key. "
    "Make sure to include subscription key when making requests to an API."
)
INVALID_KEY = (
    "Access denied due to invalid subscription key. "
    "Make sure to provide a valid key for an active subscription."
)
NO_ROUTE = "Resource not found"
GATEWAY_SERVER = "Microsoft-Azure-Application-Gateway/v2"
REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}


def apim(status: int, message: str) -> bytes:
    """Family 1: API Management, `application/json`."""
    return msgspec.json.encode({"statusCode": status, "message": message})


def rate_exceeded(seconds: int) -> str:
    """The text of a 429."""
    return f"Rate limit is exceeded. Try again in {seconds} seconds."


def quota_exceeded(seconds: int) -> str:
    """The text of a quota's 403."""
    hours, rest = divmod(seconds, 3600)
    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    return f"Out of call volume quota. Quota will be replenished in {clock}."


def problem(status: int, path: str, at: float, violations: list[dict[str, Any]]) -> bytes:
    """Family 2: the backend, `application/problem+json`. The path has no product prefix; the timestamp is
    UTC.
    """
    stamp = dt.datetime.fromtimestamp(at, dt.UTC).strftime("%d-%m-%Y %H:%M:%S")
    return msgspec.json.encode(
        {
            "title": "WebService Problem",
            "status": status,
            "path": path,
            "timestamp": stamp,
            "violations": violations,
        }
    )


def violation(field: str, message_key: str, text: str) -> dict[str, str]:
    """One violation of a family 2 body."""
    return {"field": field, "messageKey": message_key, "defaultMessage": text}


def gateway_page(status: int) -> bytes:
    """Family 3: the HTML page of the application gateway."""
    title = f"{status} {REASONS.get(status, 'Error')}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        f"<hr><center>{GATEWAY_SERVER}</center>\r\n</body>\r\n</html>\r\n"
        # as on the real page, padding keeps browsers from showing a page of their own
        + "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"
        * 3
    ).encode()
