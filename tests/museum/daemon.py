"""filingd with a third registry: the line of wiring, and the command line as it is.

MUSEUM_URL=http://127.0.0.1:8000 MUSEUM_OBJECTS=30 MUSEUM_KEY=… python -m museum.daemon run --config FILE --until-idle
"""

from __future__ import annotations

import os

from filingd import app
from filingd.__main__ import main
from museum.registry import Museum

app.REGISTRIES["museum"] = lambda _: Museum(os.environ["MUSEUM_URL"], int(os.environ["MUSEUM_OBJECTS"]))

if __name__ == "__main__":
    main()
