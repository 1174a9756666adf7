"""What SQLite's errors mean for the manifest: used wherever it is touched."""

from __future__ import annotations

from filingd.adapters.sqlite_faults import SqliteFaults
from filingd.core.errors import ManifestBusyError, ManifestDamagedError

_REBUILD = "Run `filingd manifest rebuild` to make a new one from the stored files."
_FAULTS = SqliteFaults("manifest", ManifestDamagedError, _REBUILD, ManifestBusyError)

translate = _FAULTS.translate
translated = _FAULTS.translated
