-- VMs that servers run: a server adds the row of such a VM, and removes it when the VM ends.

-- The id of the server, which is in its state directory; null: none.
ALTER TABLE vms ADD COLUMN managed_by text COLLATE "C" CHECK (managed_by ~ '^[0-9a-f]{32}$');

CREATE INDEX vms_managed ON vms (managed_by, name) WHERE managed_by IS NOT NULL;
