"""filingd keeps a complete, verified and current copy of company-registry data on your own disk.

core        pure rules: model, life cycle, calendar, limits, retry verdicts, layout
registries  what each registry is: plan, request, interpret, all pure
ports       the narrow protocols between the engine and the world
engine      asyncio: planner, scheduler, worker, reconciler, rescue, supervisor
adapters    the world: HTTP client, disk, manifest, clock, logs
sandbox     a stand-in registry on loopback, for rehearsals and tests
settings    typed configuration; app wires all of it together; cli is the front door
"""

__version__ = "0.1.0"
