-- When a VM last sent a request or ended its last connection, to any server, up to a minute late.

ALTER TABLE vms ADD COLUMN last_seen bigint; -- seconds since 1970; null: not since this column exists
