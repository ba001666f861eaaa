-- The registry: VMs, their disks, and the tokens that stand for their passwords.
--
-- AUTOINCREMENT: an id that was given once is never given again, also after its row is gone.
-- The checks keep out what the program could not read back.

CREATE TABLE schema (
    version    INTEGER PRIMARY KEY,
    checksum   TEXT    NOT NULL, -- SHA-256 of the migration's text, in hexadecimal
    applied_at INTEGER NOT NULL  -- seconds since 1970, as all times here
) STRICT;

CREATE TABLE vms (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL UNIQUE,
    ram_mib        INTEGER NOT NULL CHECK (ram_mib BETWEEN 1 AND 4294967295),
    cpus           INTEGER NOT NULL CHECK (cpus BETWEEN 1 AND 65535),
    password_hash  TEXT,                       -- PHC form; null: has no password
    epoch          INTEGER NOT NULL DEFAULT 0, -- counts password changes
    ever_connected INTEGER NOT NULL DEFAULT 0 CHECK (ever_connected IN (0, 1)),
    registered_at  INTEGER NOT NULL,
    last_login_at  INTEGER
) STRICT;

CREATE TABLE disks (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    vm       INTEGER NOT NULL REFERENCES vms (id),
    size_gib INTEGER NOT NULL CHECK (size_gib > 0)
) STRICT;

-- An index ends in the row's id: it gives a VM's disks in ascending order as well.
CREATE INDEX disks_of_vm ON disks (vm);

CREATE TABLE tokens (
    hash    BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the token
    vm      INTEGER NOT NULL REFERENCES vms (id),
    number  INTEGER NOT NULL, -- grows with each token that the VM is issued
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX tokens_of_vm ON tokens (vm, number);
CREATE INDEX tokens_by_expiry ON tokens (expires);
