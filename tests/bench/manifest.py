"""The manifest: durable transitions a second, bytes a row, and what ten million rows cost to open and to ask.

    PYTHONPATH=tests python -m bench.manifest [--rounds 7] [--rows 10_000_000]

Transitions: 32 workers, each waits for the sync of one transition before it records its next one; a fresh folder a
round. Every other figure comes from a process of its own; "cold" means after the page cache was dropped (root only).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench import peers
from filingd.adapters.manifest import SqliteManifest
from filingd.adapters.manifest_commands import ManifestBuilder, ManifestReader
from filingd.core.model import Change, Group, Item, State, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WORKERS = 32
ITEMS_A_ROUND = 25_000  # two transitions each
ROWS_A_BATCH = 10_000
DUE_ROWS = 100_000
NOW = 1_795_000_000.0
LANE = "authentic-query"
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
