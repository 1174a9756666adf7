"""Ids of attempts: what registries and operators expect of a UUID."""

from __future__ import annotations

import uuid

from filingd.adapters.request_ids import RequestIds


def test_every_id_is_a_random_uuid_and_none_comes_twice() -> None:
    new_id = RequestIds()
    drawn = [new_id() for _ in range(2000)]
    assert len(set(drawn)) == len(drawn)
    for text in drawn:
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (4, uuid.RFC_4122)
