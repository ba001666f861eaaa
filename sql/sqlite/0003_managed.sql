-- VMs that servers run: a server adds the row of such a VM, and removes it when the VM ends.

ALTER TABLE vms ADD COLUMN managed_by TEXT -- the id of the server, which is in its state directory; null: none
    CHECK (length(managed_by) = 32 AND managed_by NOT GLOB '*[^0-9a-f]*');

CREATE INDEX vms_managed ON vms (managed_by, name) WHERE managed_by IS NOT NULL;
