location.replace("/ui/vms");
