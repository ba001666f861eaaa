-- When a VM last sent a request or ended its last connection, up to a minute late.

ALTER TABLE vms ADD COLUMN last_seen INTEGER; -- seconds since 1970; null: not since this column exists
