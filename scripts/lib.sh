# Shared by the scripts in this folder: sourced, never run.
#
# An *instance* is one appliance with everything the machine gives it: a namespace, a tap, hugepages
# and a run directory, all under one name of at most 12 letters. instance_up makes them and
# instance_down removes them; whoever asked for an instance is its owner, and what a dead owner left
# is removed when its name is used again. Instances of different names run side by side.
#
# shellcheck shell=bash

set -Eeuo pipefail
# Every background command gets a process group of its own: Ctrl-C reaches this script only, which
# then ends its children one by one, in the right order.
set -m

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
RUN_ROOT=/run/trunkline
HUGEPAGES=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
export PATH=$PATH:$HOME/.cargo/bin
export DEBIAN_FRONTEND=noninteractive

# What a build needs, and what the scripts call. libdpdk-dev brings DPDK and its drivers;
# libclang and its headers read those of DPDK.
BUILD_PACKAGES=(gcc libc6-dev pkg-config libdpdk-dev libclang1-14 libclang-common-14-dev)
RUN_PACKAGES=(iproute2 procps curl ca-certificates mosquitto-clients)

# --- Talking ---------------------------------------------------------------------------------

say() {
    local now=${EPOCHREALTIME/[.,]/} begun=${TRUNKLINE_BEGUN_US:-0}
    local tenths=$(((now - begun) / 100000))
    printf '[%4d.%d s] %s\n' $((tenths / 10)) $((tenths % 10)) "$*"
}

die() {
    say "failed: $*" >&2
    exit 1
}

# A script started by another goes on with the clock of the first.
export TRUNKLINE_BEGUN_US=${TRUNKLINE_BEGUN_US:-${EPOCHREALTIME/[.,]/}}

# The comment at the head of a script is its help.
help() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

# --- Ending ----------------------------------------------------------------------------------

ON_EXIT=()

# on_exit COMMAND ARGUMENT...: done when the script ends, however it ends; the last one first.
on_exit() {
    local words
    printf -v words '%q ' "$@"
    ON_EXIT+=("$words")
}

leave() {
    local code=$? at
    trap '' INT TERM HUP
    trap - EXIT
    set +e
    if [[ ${CHILD:-} ]]; then
        # bash would print how its child ended.
        { stop_group "$CHILD" && wait "$CHILD"; } 2>/dev/null
        CHILD=
    fi
    for ((at = ${#ON_EXIT[@]} - 1; at >= 0; at--)); do
        eval "${ON_EXIT[at]}"
    done
    exit "$code"
}

# ends_cleanly: from here on the script undoes what it made, also on Ctrl-C and on SIGTERM.
ends_cleanly() {
    trap leave EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    trap 'say "failed: $BASH_COMMAND (${BASH_SOURCE[0]##*/}, line $LINENO)" >&2' ERR
}

# await COMMAND ARGUMENT...: runs it to its end, but lets a signal to this script end it at once.
await() {
    local code=0
    "$@" </dev/null &
    CHILD=$!
    wait "$CHILD" || code=$?
    CHILD=
    return "$code"
}

# spawn LOG COMMAND ARGUMENT...: starts it in the background; SPAWNED is its process.
spawn() {
    local log=$1
    shift
    "$@" </dev/null >>"$log" 2>&1 &
    SPAWNED=$!
}

is_alive() {
    [[ -r /proc/$1/stat ]] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# stop_process PID SIGNAL SECONDS: sends the signal, waits, and kills what will not go.
stop_process() {
    local pid=$1 signal=$2 seconds=$3 turn
    kill -s "$signal" "$pid" 2>/dev/null || return 0
    for ((turn = 0; turn < seconds * 20; turn++)); do
        is_alive "$pid" || return 0
        sleep 0.05
    done
    say "process $pid did not end within $seconds s of SIG$signal: killing it"
    kill -KILL "$pid" 2>/dev/null || true
}

# stop_group PID: ends a background command of this script and all it started.
stop_group() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    local turn
    for ((turn = 0; turn < 1200; turn++)); do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

# wait_until SECONDS COMMAND ARGUMENT...: polls until the command succeeds.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# --- What the machine must have --------------------------------------------------------------

need_root() {
    [[ $EUID -eq 0 ]] || die "namespaces, taps and hugepages need root: run it with sudo"
}

# need_packages NAME...: installs those that are missing, and only those.
need_packages() {
    local name missing=()
    command -v apt-get >/dev/null || die "no apt-get here: install by hand: $*"
    for name in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] ||
            missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    await apt-get -qq update
    await apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        install "${missing[@]}" >/dev/null
}

# need_rust: a cargo that is new enough for the workspace.
need_rust() {
    local least have
    least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2) || have=0
    [[ $(printf '%s\n' "$least" "${have:-0}" | sort -V | head -n1) == "$least" ]] && return
    say "installing Rust (the workspace needs $least, here is ${have:-none})"
    curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs | sh -s -- -y --profile default
}

# build_release: all programs, as they are shipped. Always the whole workspace: another selection has
# other features of shared dependencies, and would build them anew.
build_release() {
    say "building the appliance (release)"
    await cargo build --quiet --locked --release --workspace --manifest-path "$ROOT/Cargo.toml"
    TRUNKLINE=$TARGET/release/trunkline
}

# --- Profiles --------------------------------------------------------------------------------

# profile_set FILE SECTION KEY VALUE: puts a key into a section, in place of an older one.
profile_set() {
    local text
    text=$(awk -v header="[$2]" -v key="$3" -v value="$4" '
        index($0, "[") == 1 { inside = (index($0, header) == 1) }
        inside && $1 == key { next }
        { print }
        inside && index($0, header) == 1 { print key " = " value; found = 1 }
        END { if (!found) { print header; print key " = " value } }
    ' "$1")
    printf '%s\n' "$text" >"$1"
}

# profile_get FILE SECTION KEY: the value as written, without quotes and brackets.
profile_get() {
    awk -v header="[$2]" -v key="$3" '
        index($0, "[") == 1 { inside = (index($0, header) == 1) }
        inside && $1 == key { sub(/^[^=]*= */, ""); sub(/ *#.*/, ""); gsub(/[]["]/, ""); print; exit }
    ' "$1"
}

# profile_address FILE 4|6: the port's first address of that family with its prefix, if it has one.
profile_address() {
    profile_get "$1" port addresses | tr -d ' ' | tr ',' '\n' |
        awk -v wanted="$2" '(/:/ ? 6 : 4) == wanted { print; exit }'
}

# core_list N: the first N cores, as a profile writes them.
core_list() {
    local cores
    cores=$(seq -s ', ' 0 $(($1 - 1)))
    printf '[%s]' "$cores"
}

# --- Instances -------------------------------------------------------------------------------

INSTANCE_LOCK=

# Everything that counts or adds up over instances happens under one lock. It is on the kernel's own
# directory, so there is no lock file to leave behind. Who has it already keeps it.
lock_instances() {
    [[ -z $INSTANCE_LOCK ]] || return 0
    exec {INSTANCE_LOCK}</sys/kernel/mm/hugepages
    flock "$INSTANCE_LOCK"
}

unlock_instances() {
    exec {INSTANCE_LOCK}<&-
    INSTANCE_LOCK=
}

# process_identity PID: the number and the start time, which together name one process for ever.
process_identity() {
    [[ -r /proc/$1/stat ]] && printf '%s %s\n' "$1" "$(sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20)"
}

# instance_owner_lives NAME
instance_owner_lives() {
    local pid start
    read -r pid start 2>/dev/null <"$RUN_ROOT/$1/owner" || return 1
    [[ $(process_identity "$pid") == "$pid $start" ]]
}

# instance_up NAME PROFILE SHARDS OWNER: makes everything the instance needs to start. Its own copy
# of the profile, with the number of shards and a free port for /metrics, is PROFILE_OF_INSTANCE.
instance_up() {
    local name=$1 profile=$2 shards=$3 owner=$4 dir=$RUN_ROOT/$1 port
    [[ $name =~ ^[a-z0-9]{1,12}$ ]] || die "instance '$name': 1 to 12 of a-z and 0-9, please"
    [[ -r $profile ]] || die "no profile $profile"
    lock_instances
    if instance_owner_lives "$name"; then
        unlock_instances
        die "instance $name runs already (process $(cut -d' ' -f1 "$dir/owner"))"
    fi
    instance_remove "$name"
    mkdir -p "$RUN_ROOT"
    mkdir -m 0750 "$dir"
    process_identity "$owner" >"$dir/owner"
    PROFILE_OF_INSTANCE=$dir/profile.toml
    port=$(free_metrics_port)
    cp "$profile" "$PROFILE_OF_INSTANCE"
    profile_set "$PROFILE_OF_INSTANCE" control metrics_listen "\"127.0.0.1:$port\""
    [[ -z $shards ]] || profile_set "$PROFILE_OF_INSTANCE" shards cores "$(core_list "$shards")"
    instance_network "$name" "$PROFILE_OF_INSTANCE"
    instance_hugepages "$name" "$PROFILE_OF_INSTANCE"
    unlock_instances
}

# instance_down NAME OWNER: removes it, if it is the owner's.
instance_down() {
    local pid=
    lock_instances
    read -r pid _ 2>/dev/null <"$RUN_ROOT/$1/owner" || true
    [[ $pid != "$2" ]] || instance_remove "$1"
    unlock_instances
}

# A port of the loopback that nobody listens on and no other instance was given.
free_metrics_port() {
    local port=9464
    while ss -Hltn "sport = :$port" | grep -q . ||
        grep -qs "metrics_listen = \"127.0.0.1:$port\"" "$RUN_ROOT"/*/profile.toml; do
        port=$((port + 1))
    done
    echo "$port"
}

# The namespace, if the profile has one, and the tap, if its port is one. The kernel's side gets the
# addresses that follow the appliance's first of each family; the interface outlives the process that opens it.
instance_network() {
    local name=$1 ipv4 ipv6
    [[ $(profile_get "$2" port netns) ]] || return 0
    ip netns add "trunkline-$name"
    ip -n "trunkline-$name" link set lo up
    ipv4=$(profile_address "$2" 4) ipv6=$(profile_address "$2" 6)
    [[ $ipv6 ]] || ip netns exec "trunkline-$name" sysctl -qw net.ipv6.conf.default.disable_ipv6=1
    [[ $(profile_get "$2" port device) == net_tap* ]] || return 0
    ip -n "trunkline-$name" tuntap add dev "tl-$name" mode tap multi_queue
    [[ -z $ipv4 ]] || ip -n "trunkline-$name" addr add "$(next_address "$ipv4")" dev "tl-$name"
    # Nobody else is on this link who could have it.
    [[ -z $ipv6 ]] || ip -n "trunkline-$name" addr add "$(next_address "$ipv6")" dev "tl-$name" nodad
    ip -n "trunkline-$name" link set "tl-$name" up
}

# next_address ADDRESS/PREFIX: the one that follows it, if its last part has room for that.
next_address() {
    local address=${1%/*} prefix=${1#*/}
    case $address in
        *:*) printf '%s:%x/%s' "${address%:*}" $((16#${address##*:} + 1)) "$prefix" ;;
        *) printf '%s.%d/%s' "${address%.*}" $((${address##*.} + 1)) "$prefix" ;;
    esac
}

# Adds what this instance needs to the kernel's pool and writes down how much that was.
instance_hugepages() {
    local name=$1 need had have
    # It fails as long as the host lacks something, and the hugepages are what it lacks.
    need=$({ "$TRUNKLINE" check "$2" --instance "$name" || true; } |
        sed -n 's/^hugepages: *\([0-9]*\).*/\1/p')
    [[ $need ]] || die "trunkline check does not say how many hugepages $2 needs"
    had=$(<"$HUGEPAGES")
    echo "$need" >"$RUN_ROOT/$name/hugepages"
    echo 1 >/proc/sys/vm/compact_memory 2>/dev/null || true
    echo $((had + need)) >"$HUGEPAGES"
    have=$(<"$HUGEPAGES")
    if ((have < had + need)); then
        echo $((have > had ? have - had : 0)) >"$RUN_ROOT/$name/hugepages"
        die "the kernel gave $((have - had)) of $need hugepages of 2 MB: free some memory"
    fi
}

# instance_remove NAME: whatever there is of it. The dataplane outlives its control process, so it
# is looked for where only it can be: in the namespace of the instance.
instance_remove() {
    local name=$1 pid pages=0 have
    for pid in $(instance_dataplanes "$name"); do
        stop_process "$pid" TERM 10
    done
    [[ ! -e /run/netns/trunkline-$name ]] || ip netns del "trunkline-$name"
    read -r pages 2>/dev/null <"$RUN_ROOT/$name/hugepages" || true
    if ((pages > 0)); then
        have=$(<"$HUGEPAGES")
        echo $((have > pages ? have - pages : 0)) >"$HUGEPAGES"
    fi
    rm -rf "${RUN_ROOT:?}/$name" "/run/dpdk/tl-$name"
    rmdir "$RUN_ROOT" /run/dpdk 2>/dev/null || true
}

# instance_dataplanes NAME: processes of the dataplane that live in the instance's namespace.
instance_dataplanes() {
    local pid
    [[ -e /run/netns/trunkline-$1 ]] || return 0
    for pid in $(ip netns pids "trunkline-$1"); do
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == trunkline-datap* ]] && echo "$pid"
    done
    return 0
}
