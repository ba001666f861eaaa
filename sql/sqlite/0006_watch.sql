-- Changes of the host's tools beside a daemon, from where a VM was last seen, and tokens that may only read.

-- What tools have changed, for the daemon that serves the file; rows older than ten minutes are removed.
CREATE TABLE changes (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    origin  INTEGER NOT NULL, -- a random number of the process that made the change
    kind    TEXT    NOT NULL CHECK (kind IN ('registered', 'updated', 'removed', 'logins ended', 'token ended')),
    subject INTEGER NOT NULL, -- vms.id; access_tokens.id of 'token ended'
    name    TEXT,             -- of the VM
    at      INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

ALTER TABLE vms ADD COLUMN last_address TEXT; -- the client's IP address with last_seen; null: none is known

ALTER TABLE access_tokens ADD COLUMN reader_name TEXT; -- of a client that may only read; null: a token for verbs
