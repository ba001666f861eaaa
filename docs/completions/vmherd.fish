# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vmherd_global_optspecs
    string join \n listen= allow-plaintext= sealed-onetime-keys= sealed-tokens= allow= deny= http-host= http-origin= connections-max= buffers-max= requests-per-connection= requests-max= first-request-timeout= request-timeout= idle-timeout= write-timeout= registration= vms-max= token-lifetime= login-failures= login-delay-max= auth-workers= auth-queue= argon2-memory= argon2-passes= argon2-lanes= store= store-file= state-dir= store-connections= read-queue= write-queue= metrics-durability= metrics-retention= metrics-points= conversion-delay= vm-image= vms-running-max= vm-ports= vm-address= vm-memory= vm-cpus= vm-accel= vm-network= vm-user-data= vm-enroll= vm-ready-timeout= vm-stop-timeout= vm-life-max= vm-idle-timeout= vm-reboot= vms-survive= vm-machine= vm-qemu= vm-qemu-arg= config= log= log-addresses= log-format= check-config= show-config version help
end

function __fish_vmherd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vmherd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vmherd_using_subcommand
    set -l cmd (__fish_vmherd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vmherd -n "__fish_vmherd_needs_command" -l listen -d 'may be repeated' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l allow-plaintext -d 'let --listen reach beyond this host, unencrypted' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l sealed-onetime-keys -d 'new keys for sealed:// at each start' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l sealed-tokens -d 'clients of sealed:// need access tokens' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l allow -d 'only these may connect; repeatable' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l deny -d 'these may not connect; repeatable' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l http-host -d 'allowed in Host; repeatable' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l http-origin -d 'whose pages may ask; repeatable' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l connections-max -d 'open connections' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l buffers-max -d 'what all clients may make it hold' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l requests-per-connection -d 'open ones with an id' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l requests-max -d 'requests on their way, all connections' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l first-request-timeout -d 'for a client that has sent nothing' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l request-timeout -d 'first to last byte of a request' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l idle-timeout -d 'between requests' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l write-timeout -d 'for a client that does not read' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l registration -d 'who may register' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vms-max -d 'VMs that the store may hold' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l token-lifetime -d 'how long a token is good for' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l login-failures -d 'after so many wrong passwords, delay' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l login-delay-max -d 'the next attempt, up to so long' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l auth-workers -d 'threads that hash passwords' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l auth-queue -d 'logins that may wait' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l argon2-memory -d 'memory of one hash' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l argon2-passes -d 'passes over it' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l argon2-lanes -d 'its lanes' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l store -d 'sqlite:, postgres:, memory:' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l store-file -d 'its first line is what --store would say' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l state-dir -d 'own socket, default store' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l store-connections -d 'connections to PostgreSQL' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l read-queue -d 'reads that may wait' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l write-queue -d 'writes that may wait' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l metrics-durability -d 'ok says: in the store, or in memory' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l metrics-retention -d 'remove points that are older' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l metrics-points -d 'GET /metrics has the latest points too' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l conversion-delay -d '0: answered at once' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-image -d 'what CREATE boots: an ISO or a disk' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vms-running-max -d 'VMs that run at a time' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-ports -d 'their SSH ports on this host' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-address -d 'where these ports are' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-memory -d 'memory of a VM' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-cpus -d 'its processors' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-accel -d 'runs it: the CPU (kvm), or QEMU (tcg)' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-network -d 'restricted, or open to all' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-user-data -d 'cloud-init user-data for every VM' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-enroll -d 'give each a token to authenticate with' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-ready-timeout -d 'for its SSH to greet' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-stop-timeout -d 'for it to power off at a stop' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-life-max -d 'end it after so long' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-idle-timeout -d 'end it after so long without SSH' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-reboot -d 'let it reboot; otherwise that ends it' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vms-survive -d 'leave VMs running at a stop, take them over later' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-machine -d 'QEMU\'s machine type' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-qemu -d 'QEMU itself' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l vm-qemu-arg -d 'one more of its arguments; repeatable' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l config -d 'settings as NAME=VALUE lines' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l log -d 'as RUST_LOG: warn,vmherd=debug' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l log-addresses -d 'how the log shows clients' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l log-format -d 'one event a line, on stderr' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l check-config -d 'say whether these settings are valid, and exit' -r
complete -c vmherd -n "__fish_vmherd_needs_command" -l show-config -d 'say each setting and where it is from'
complete -c vmherd -n "__fish_vmherd_needs_command" -l version -d 'say the version and exit'
complete -c vmherd -n "__fish_vmherd_needs_command" -l help -d 'this text'
complete -c vmherd -n "__fish_vmherd_needs_command" -f -a "vm" -d 'Virtual machines in the store'
complete -c vmherd -n "__fish_vmherd_needs_command" -f -a "token" -d 'Access tokens'
complete -c vmherd -n "__fish_vmherd_needs_command" -f -a "keys" -d 'The key pair of sealed listeners'
complete -c vmherd -n "__fish_vmherd_needs_command" -f -a "stats" -d 'The daemon\'s counters'
complete -c vmherd -n "__fish_vmherd_needs_command" -f -a "backup" -d 'A copy of the store'
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l config -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l store -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l store-file -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l state-dir -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l vms-max -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l argon2-memory -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l argon2-passes -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l argon2-lanes -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l ram -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l cpu -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l disk -r
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l json
complete -c vmherd -n "__fish_vmherd_using_subcommand vm" -l help
complete -c vmherd -n "__fish_vmherd_using_subcommand token" -l config -r
complete -c vmherd -n "__fish_vmherd_using_subcommand token" -l store -r
complete -c vmherd -n "__fish_vmherd_using_subcommand token" -l store-file -r
complete -c vmherd -n "__fish_vmherd_using_subcommand token" -l state-dir -r
complete -c vmherd -n "__fish_vmherd_using_subcommand token" -l reader -r
complete -c vmherd -n "__fish_vmherd_using_subcommand token" -l disabled
complete -c vmherd -n "__fish_vmherd_using_subcommand token" -l help
complete -c vmherd -n "__fish_vmherd_using_subcommand keys" -l config -r
complete -c vmherd -n "__fish_vmherd_using_subcommand keys" -l state-dir -r
complete -c vmherd -n "__fish_vmherd_using_subcommand keys" -l bits -r
complete -c vmherd -n "__fish_vmherd_using_subcommand keys" -l help
complete -c vmherd -n "__fish_vmherd_using_subcommand stats" -l config -r
complete -c vmherd -n "__fish_vmherd_using_subcommand stats" -l state-dir -r
complete -c vmherd -n "__fish_vmherd_using_subcommand stats" -l json
complete -c vmherd -n "__fish_vmherd_using_subcommand stats" -l help
complete -c vmherd -n "__fish_vmherd_using_subcommand backup" -l config -r
complete -c vmherd -n "__fish_vmherd_using_subcommand backup" -l store -r
complete -c vmherd -n "__fish_vmherd_using_subcommand backup" -l store-file -r
complete -c vmherd -n "__fish_vmherd_using_subcommand backup" -l state-dir -r
complete -c vmherd -n "__fish_vmherd_using_subcommand backup" -l help
