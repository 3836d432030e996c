#!/bin/sh
# Shows what each way of `brokerctl exec` keeps from whom, on this machine, with a profile of yours:
#     limits.sh PROFILE
# A command runs under `exec`; another process of the same user, one of another user (if this runs
# as root) and one in a pid namespace of its own (if unshare can make one) try to get its token.
# No token is printed, and each session revokes its own. docs/limits.md says what it means.
set -eu
profile=${1:?usage: limits.sh PROFILE}
name=$(printf %s "$profile" | tr 'a-z-' 'A-Z_')
folder=$(mktemp -d)
chmod 711 "$folder"
trap 'exec 9>&-; rm -rf "$folder"' EXIT

start() {  # OPTIONS: run a command that waits; its process id is in $child
    mkfifo "$folder/hold"
    brokerctl exec -p "$profile" "$@" -- sh -c 'echo $$ >"$0/new" && mv "$0/new" "$0/pid"; read -r line' \
        "$folder" <"$folder/hold" &
    supervisor=$!
    exec 9>"$folder/hold"
    until [ -s "$folder/pid" ]; do
        kill -0 "$supervisor" || exit 1
        sleep 0.1
    done
    child=$(cat "$folder/pid")
}

stop() {
    exec 9>&-
    wait "$supervisor" || true
    rm -f "$folder/hold" "$folder/pid"
}

variable() {  # NAME: print its value in the command's environment, as another process reads it
    tr '\0' '\n' <"/proc/$child/environ" 2>/dev/null | sed -n "s/^$1=//p"
}

report() {  # WAY WHO COMMAND...: say whether the command printed anything
    way=$1 who=$2
    shift 2
    if found=$("$@" 2>/dev/null) && [ -n "$found" ]; then
        echo "$way: $who: YES"
    else
        echo "$way: $who: no"
    fi
}

others() {  # WAY COMMAND...: the same, by who is not the same user, or sees no such process
    way=$1
    shift
    if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
        report "$way" 'another user' setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
    fi
    if unshare --user --map-root-user --pid --fork --mount-proc true 2>/dev/null; then
        report "$way" 'a pid namespace of its own' \
            unshare --user --map-root-user --pid --fork --mount-proc "$@"
    fi
}

start --env LIMITS_TOKEN="$profile"
report environment 'the same user reads it' variable LIMITS_TOKEN
others environment sed -n /LIMITS_TOKEN/p "/proc/$child/environ"
if command -v strace >/dev/null; then
    strace -qq -e trace=none -p "$child" 2>"$folder/strace" &
    tracer=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do  # until it is there, or refused
        grep -q '^TracerPid:.*[1-9]' "/proc/$child/status" && break
        kill -0 "$tracer" 2>/dev/null || break
        sleep 0.5
    done
    report ptrace 'the same user attaches to the command' sed -n 's/^TracerPid:[^1-9]*//p' \
        "/proc/$child/status"
    kill "$tracer" 2>/dev/null || true
    wait "$tracer" 2>/dev/null || true
fi
stop

start --file LIMITS_FILE="$profile"
file=$(variable LIMITS_FILE)
report file 'the same user reads it' cat "$file"
others file cat "$file"
stop
report file 'it is there after the end' cat "$file"

start --socket
socket=$(variable BROKERCTL_SOCKET)
report socket 'the token is in the environment' variable "${name}_TOKEN"
report socket 'the same user asks it' \
    curl -sf --unix-socket "$socket" "http://localhost/token/$profile"
others socket curl -sf --unix-socket "$socket" "http://localhost/token/$profile"
stop
report socket 'it answers after the end' \
    curl -sf --unix-socket "$socket" "http://localhost/token/$profile"

start --gateway
url=$(variable "BROKERCTL_GATEWAY_$name")
report gateway 'the token is in the environment' variable "${name}_TOKEN"
report gateway 'the same user uses its key' curl -s -o /dev/null -w '%{http_code}' "$url/"
report gateway 'who has no key' curl -sf "${url%/*/*}/"
others gateway sed -n /BROKERCTL_GATEWAY/p "/proc/$child/environ"
others 'gateway, its key known' curl -s -o /dev/null -w '%{http_code}' "$url/"
stop
report gateway 'it answers after the end' curl -sf "$url/"
