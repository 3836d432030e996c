#!/bin/sh
# A coding agent in a container that has the session's socket: neither configuration, store nor key.
# usage: container.sh IMAGE COMMAND…    (the image has brokerctl, or asks with curl --unix-socket)
set -eu
run='exec podman run --rm -i -v "$BROKERCTL_SOCKET:/run/broker" -e BROKERCTL_SOCKET=/run/broker "$@"'
exec brokerctl exec --agent coder -p gitlab --uses 200 --socket -- sh -c "$run" sh "$@"
