-- Changes of one daemon or tool for the others, from where a VM was last seen, and tokens that may only read.

-- What daemons and tools have changed; rows older than ten minutes are removed. A reader asks for the rows that its
-- snapshot before did not see: numbers say nothing about the order of commits.
CREATE TABLE changes (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- ascends with the changes of one VM
    tx      xid8   NOT NULL DEFAULT pg_current_xact_id(),
    origin  bigint NOT NULL, -- a random number of the process that made the change
    kind    text   NOT NULL CHECK (kind IN ('registered', 'updated', 'removed', 'logins ended', 'token ended')),
    subject bigint NOT NULL, -- vms.id; access_tokens.id of 'token ended'
    name    text   COLLATE "C", -- of the VM
    at      bigint NOT NULL DEFAULT extract(epoch FROM clock_timestamp())::bigint
);

CREATE INDEX changes_by_tx ON changes (tx);

-- The client's IP address with last_seen; null: none is known.
ALTER TABLE vms ADD COLUMN last_address text COLLATE "C";

-- The name of a client that may only read; null: a token for verbs.
ALTER TABLE access_tokens ADD COLUMN reader_name text COLLATE "C";
