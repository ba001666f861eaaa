# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vmherdctl_global_optspecs
    string join \n server= state-dir= timeout= vm= password-file= token-file= format= c/columns= h/help V/version
end

function __fish_vmherdctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vmherdctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vmherdctl_using_subcommand
    set -l cmd (__fish_vmherdctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -s V -l version -d 'Print version'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "ping" -d 'Check the connection to the server'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "register" -d 'Register a new VM'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "authenticate" -d 'Log in as a VM, and print a token'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "logout" -d 'End the login and its tokens'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "vms" -d 'List VMs: all of them, or those in a state'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "top" -d 'Show the VMs and the server\'s state, live'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "disks" -d 'List all disks'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "update" -d 'Change the RAM, CPUs or disks of the VM'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "list_active" -d 'List the open connections, and the VMs on them'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "list_auth" -d 'List the connections that VMs are logged in on'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "list_authenticated" -d 'List the connections that VMs are logged in on'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "list_all" -d 'List all VMs, as vms'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "list_all_disks" -d 'List all disks, as disks'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "update_ram" -d 'Change the RAM of the VM'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "update_ram_cpu_disks" -d 'Change the RAM, CPUs and disks of the VM'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "stat" -d 'Show the server\'s version, uptime and room for VMs'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "create" -d 'Start a VM, and keep its credentials'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "destroy" -d 'End VMs that create has started'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "ssh" -d 'Open a shell in a VM that create has started'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "wait" -d 'Wait until a VM is online, offline or ready for SSH'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "convert" -d 'Convert packed text to entities'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "raw" -d 'Send JSON requests of any dialect, and print the replies'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "token" -d 'Manage the access tokens of verbs and of readers'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "console" -d 'Open the serial console of a VM that the server runs'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "stats" -d 'Show the server\'s counters'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "metrics" -d 'Store, fetch and draw metrics'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "vm" -d 'Manage VMs, as the operator'
complete -c vmherdctl -n "__fish_vmherdctl_needs_command" -f -a "agent" -d 'Keep this VM logged in, and put its metrics'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ping" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l ram -d 'Its memory: 512M, 2G; without a unit: MiB' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l cpu -d 'Its processors' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l disk -d 'A disk: 100G, 1.5T; may be repeated' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand register" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand authenticate" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand logout" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l offline-for -d 'Offline for so long: 1h (operator, readers)' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l active -d 'The open connections'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -l authenticated -d 'Those that VMs are logged in on'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vms" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l interval -d 'The time between two looks [default: 2s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -l once -d 'Print one table and end'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand top" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand disks" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l ram -d 'Its memory: 512M, 2G; without a unit: MiB' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l cpu -d 'Its processors' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l disk -d 'A disk: 1=150G, or 150G; may be repeated' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_active" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_auth" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_authenticated" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand list_all_disks" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand update_ram_cpu_disks" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stat" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l within -d 'How long to wait [default: 5m]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l wait -d 'Wait until its SSH server answers'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -l no-store -d 'Print its credentials, and do not keep them'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand create" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l client-token-file -d 'Its client_token [default: as create has kept]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -l forget -d 'Only remove the credentials of an ended VM'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand destroy" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand ssh" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l for -d 'online, offline or ssh' -r -f -a "online\t''
offline\t''
ssh\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l within -d 'How long to wait [default: 5m]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l address -d 'Its SSH server [default: as create has kept]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand wait" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand convert" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand raw" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand token" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand console" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand stats" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -f -a "put" -d 'Store a point, or many from standard input'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -f -a "get" -d 'Fetch the points of a key, or all'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and not __fish_seen_subcommand_from put get plot" -f -a "plot" -d 'Draw the points of a key'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from put" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l from -d 'From then on: seconds since 1970, or -1h' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l to -d 'Up to this time' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l from -d 'From then on: seconds since 1970, or -1h' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l to -d 'Up to this time' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l height -d 'The lines of a drawing' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand metrics; and __fish_seen_subcommand_from plot" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -f -a "list" -d 'List VMs, and when they were online'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -f -a "show" -d 'Show one VM'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -f -a "add" -d 'Add a VM'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -f -a "set" -d 'Change the RAM, CPUs or disks of a VM'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -f -a "passwd" -d 'Change the password of a VM'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and not __fish_seen_subcommand_from list show add set passwd remove" -f -a "remove" -d 'Remove VMs'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l offline-for -d 'Offline for so long: 1h' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l ram -d 'Its memory: 512M, 2G; without a unit: MiB' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l cpu -d 'Its processors' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l disk -d 'A disk: 100G, 1.5T; may be repeated' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -l no-password -d 'No client can log in as it by password'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l ram -d 'Its memory: 512M, 2G; without a unit: MiB' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l cpu -d 'Its processors' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l disk -d 'A disk: 1=150G, or 150G; may be repeated' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from passwd" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -l server -d 'HOST:PORT or unix:PATH [VMHERD_SERVER]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -l state-dir -d 'That daemon\'s own socket [VMHERD_STATE_DIR]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -l password-file -d 'Its first line is the password; -: stdin' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -l token-file -d 'Log in with this token [VMHERD_TOKEN]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand vm; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l server -d 'tcp://HOST:PORT, HOST:PORT or unix:PATH' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l name -d 'The name of the VM [default: the host\'s name]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l password-file -d 'Its password, the first line of FILE' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l token-file -d 'Its token, or /etc/vmherd/enrollment.json' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l interval -d 'The time between two samples [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l backlog -d 'The size of the backlog [default: 16M]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l state-dir -d 'For token and backlog [default: $STATE_DIRECTORY]' -r -F
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l timeout -d 'The time for a reply [default: 10s]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l vm -d 'Log in as this VM [VMHERD_PASSWORD]' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l format -d 'table, compact, csv or json [default: table]' -r -f -a "table\t''
compact\t''
csv\t''
json\t''"
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -s c -l columns -d 'Print these columns: a,b' -r
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -l register -d 'Register the VM if the server does not know it'
complete -c vmherdctl -n "__fish_vmherdctl_using_subcommand agent" -s h -l help -d 'Print help'
