-- The registry: VMs, their disks, and the tokens that stand for their passwords.
--
-- An identity that was given once is never given again, also after its row is gone. The checks keep out
-- what the program could not read back. All times are seconds since 1970.

CREATE TABLE vmherd_schema (
    version    bigint PRIMARY KEY,
    checksum   text   NOT NULL, -- SHA-256 of the migration's text, in hexadecimal
    applied_at bigint NOT NULL
);

CREATE TABLE vms (
    id             bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text    COLLATE "C" NOT NULL UNIQUE,
    ram_mib        bigint  NOT NULL CHECK (ram_mib BETWEEN 1 AND 4294967295),
    cpus           integer NOT NULL CHECK (cpus BETWEEN 1 AND 65535),
    password_hash  text,                       -- PHC form; null: has no password
    epoch          bigint  NOT NULL DEFAULT 0, -- counts password changes
    ever_connected boolean NOT NULL DEFAULT false,
    registered_at  bigint  NOT NULL,
    last_login_at  bigint
);

-- One row: how many rows vms has. Whoever adds or removes one holds this row's lock until the commit, so
-- that a limit is kept by all together and nobody has to count a million rows.
CREATE TABLE vm_total (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    vms     bigint  NOT NULL
);

INSERT INTO vm_total (vms) VALUES (0);

CREATE TABLE disks (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vm       bigint NOT NULL REFERENCES vms (id),
    size_gib bigint NOT NULL CHECK (size_gib > 0)
);

CREATE INDEX disks_of_vm ON disks (vm, id);

CREATE TABLE tokens (
    hash    bytea  PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the token
    vm      bigint NOT NULL REFERENCES vms (id),
    number  bigint NOT NULL, -- grows with each token that the VM is issued
    expires bigint NOT NULL
);

CREATE UNIQUE INDEX tokens_of_vm ON tokens (vm, number);
CREATE INDEX tokens_by_expiry ON tokens (expires);
