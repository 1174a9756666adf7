BEGIN TRANSACTION;
CREATE TABLE cursors (name TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE feed (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER,
        kind INTEGER,
        subject TEXT,
        version INTEGER
    );
INSERT INTO "feed" VALUES(1,0,0,'',0);
INSERT INTO "feed" VALUES(2,1795000000000,1,'nbb/authentic/2026-11-20/2',1);
CREATE TABLE groups (
        key TEXT NOT NULL PRIMARY KEY,
        opened_ms INTEGER NOT NULL,
        sealed_ms INTEGER,
        checked_ms INTEGER,
        reasons TEXT,
        facts TEXT
    ) WITHOUT ROWID;
INSERT INTO "groups" VALUES('nbb/authentic/2026-11-20',1795000000000,NULL,NULL,'["json: not yet"]',NULL);
CREATE TABLE history (version INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL);
INSERT INTO "history" VALUES(1,1795000000000);
INSERT INTO "history" VALUES(2,1795000000000);
CREATE TABLE items (
        key TEXT PRIMARY KEY,
        lane_id INTEGER,
        state INTEGER,
        priority INTEGER,
        due_ms INTEGER,
        attempts INTEGER,
        reason TEXT,
        nothing_count INTEGER,
        nothing_ms INTEGER,
        size_bytes INTEGER,
        sha256 BLOB,
        stored_ms INTEGER,
        version INTEGER
    ) WITHOUT ROWID;
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/0',1,0,0,1795000000000,0,'naïve DUE',0,NULL,NULL,NULL,NULL,0);
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/1',2,1,0,NULL,0,'naïve ACTIVE',0,NULL,NULL,NULL,NULL,0);
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/2',1,2,0,1795000000000,0,'naïve STORED',0,NULL,NULL,NULL,NULL,1);
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/3',2,3,0,NULL,0,'naïve RECHECKING',0,NULL,NULL,NULL,NULL,0);
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/4',1,4,0,1795000000000,0,'naïve EMPTY',0,NULL,NULL,NULL,NULL,0);
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/5',2,5,0,1795000000000,0,'naïve ABSENT',0,NULL,NULL,NULL,NULL,0);
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/6',1,6,0,1795000000000,0,'naïve QUARANTINED',0,NULL,NULL,NULL,NULL,0);
INSERT INTO "items" VALUES('nbb/authentic/2026-11-20/7',2,7,0,NULL,0,'naïve REASKING',0,NULL,NULL,NULL,NULL,0);
CREATE TABLE lane_states (
        name TEXT NOT NULL PRIMARY KEY,
        boot_id TEXT NOT NULL,
        reserved_until_s REAL NOT NULL,
        parked_until_at REAL,
        parked_for_s REAL NOT NULL,
        park_reason TEXT,
        slowdown REAL NOT NULL,
        strikes INTEGER NOT NULL,
        key_index INTEGER NOT NULL,
        throttles INTEGER NOT NULL,
        blocks INTEGER NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "lane_states" VALUES('extract','b-1',12.5,NULL,0.0,NULL,1.0,0,0,0,0);
CREATE TABLE lanes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO "lanes" VALUES(1,'archive');
INSERT INTO "lanes" VALUES(2,'extract');
CREATE TABLE routes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO "routes" VALUES(1,'extract');
CREATE TABLE scheduled_counts (lane_id INTEGER PRIMARY KEY, items INTEGER NOT NULL);
INSERT INTO "scheduled_counts" VALUES(1,4);
INSERT INTO "scheduled_counts" VALUES(2,1);
CREATE TABLE state_counts (state INTEGER PRIMARY KEY, items INTEGER NOT NULL);
INSERT INTO "state_counts" VALUES(0,1);
INSERT INTO "state_counts" VALUES(1,1);
INSERT INTO "state_counts" VALUES(2,1);
INSERT INTO "state_counts" VALUES(3,1);
INSERT INTO "state_counts" VALUES(4,1);
INSERT INTO "state_counts" VALUES(5,1);
INSERT INTO "state_counts" VALUES(6,1);
INSERT INTO "state_counts" VALUES(7,1);
CREATE TABLE tombstones (
        subject TEXT NOT NULL PRIMARY KEY,
        is_enterprise INTEGER NOT NULL,
        buried_ms INTEGER NOT NULL,
        reason TEXT NOT NULL,
        erased_ms INTEGER,
        erased TEXT
    ) WITHOUT ROWID;
CREATE TABLE versions (
        key TEXT,
        number INTEGER,
        path TEXT,
        size_bytes INTEGER,
        sha256 BLOB,
        stored_ms INTEGER,
        route_id INTEGER,
        request_id,
        etag TEXT,
        content_digest BLOB,
        member_count INTEGER,
        verified_ms INTEGER,
        facts TEXT,
        PRIMARY KEY (key, number)
    ) WITHOUT ROWID;
INSERT INTO "versions" VALUES('nbb/authentic/2026-11-20/2',1,'a/b.zip',5,X'0101010101010101010101010101010101010101010101010101010101010101',1795000000000,1,'r-1',NULL,NULL,NULL,NULL,'{"n":1}');
CREATE INDEX items_scheduled ON items (lane_id, priority, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX items_noteworthy ON items (state) WHERE state IN (1, 3, 6, 7);
COMMIT;
PRAGMA application_id = 1718185063;
PRAGMA user_version = 2;
